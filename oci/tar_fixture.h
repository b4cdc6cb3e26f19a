/* Tests only: tars byte by byte, evil ones too. */
#pragma once

#include <glib.h>
#include <stdint.h>
#include <string.h>

enum { TAR_BLOCK = 512 };

typedef struct TarEntry {
    char type; /* '0' file, '1' hard link, '2' symbolic link, '3' '4' devices, '5' folder, '6' fifo, 'x' pax,
                  'L' GNU long name */
    const char *name, *link;
    const char *data; /* NUL-ended */
    unsigned mode;    /* 0: 0644, folders 0755 */
    int64_t uid;
    int64_t size; /* 0: of data; else what the header says, negative too */
} TarEntry;

static inline void
tar_octal(char *field, size_t n, uint64_t value)
{
    field[--n] = '\0';
    while (n-- > 0) {
        field[n] = (char)('0' + (value & 7));
        value >>= 3;
    }
}

/* GNU's form of numbers that do not fit: big-endian binary, first byte 0x80, or 0xff for negative ones. */
static inline void
tar_binary(char *field, size_t n, int64_t value)
{
    for (size_t i = n; i-- > 0; value >>= 8)
        field[i] = (char)(value & 0xff);
    field[0] = (char)(value < 0 ? 0xff : 0x80);
}

static inline void
tar_number(char *field, size_t n, int64_t value)
{
    if (value < 0 || value >= (INT64_C(1) << (3 * (n - 1))))
        tar_binary(field, n, value);
    else
        tar_octal(field, n, (uint64_t)value);
}

static inline void
tar_copy(char *field, size_t n, const char *text)
{
    size_t length = text ? strlen(text) : 0;

    memcpy(field, text ? text : "", MIN(n, length));
}

static inline void
tar_add(GByteArray *tar, const TarEntry *entry)
{
    char block[TAR_BLOCK] = { 0 };
    size_t n = entry->data ? strlen(entry->data) : 0;
    unsigned sum = 0;

    tar_copy(block, 100, entry->name);
    tar_number(block + 100, 8, entry->mode ? entry->mode : entry->type == '5' ? 0755 : 0644);
    tar_number(block + 108, 8, entry->uid);
    tar_number(block + 116, 8, entry->uid);
    tar_number(block + 124, 12, entry->size ? entry->size : (int64_t)n);
    tar_number(block + 136, 12, 1700000000);
    memset(block + 148, ' ', 8);
    block[156] = entry->type;
    tar_copy(block + 157, 100, entry->link);
    memcpy(block + 257, "ustar\00000", 8);
    for (size_t i = 0; i < sizeof block; i++)
        sum += (unsigned char)block[i];
    tar_octal(block + 148, 7, sum);

    g_byte_array_append(tar, (const guint8 *)block, sizeof block);
    g_byte_array_append(tar, (const guint8 *)(entry->data ? entry->data : ""), (guint)n);
    memset(block, 0, sizeof block);
    g_byte_array_append(tar, (const guint8 *)block, (guint)((TAR_BLOCK - n % TAR_BLOCK) % TAR_BLOCK));
}

static inline void
tar_end(GByteArray *tar)
{
    static const guint8 zeros[2 * TAR_BLOCK];

    g_byte_array_append(tar, zeros, sizeof zeros);
}

/* entries end with a NULL name. */
static inline GByteArray *
tar_of(const TarEntry *entries)
{
    GByteArray *tar = g_byte_array_new();

    for (; entries->name; entries++)
        tar_add(tar, entries);
    tar_end(tar);
    return tar;
}
