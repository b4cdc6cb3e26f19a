#include "common/id.h"

#include <string.h>
#include <sys/random.h>

char *
sl_id_random_hex(size_t n_bytes)
{
    static const char digits[] = "0123456789abcdef";
    g_autofree unsigned char *bytes = g_malloc(n_bytes);
    char *text = g_malloc(2 * n_bytes + 1);

    for (size_t have = 0; have < n_bytes;) {
        ssize_t n = getrandom(bytes + have, n_bytes - have, 0);

        if (n > 0)
            have += (size_t)n;
    }
    for (size_t i = 0; i < n_bytes; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    text[2 * n_bytes] = '\0';
    return text;
}

char *
sl_id_new(void)
{
    return sl_id_random_hex(SL_ID_CHARS / 2);
}

bool
sl_id_is_prefix(const char *text)
{
    size_t n = strspn(text, "0123456789abcdef");

    return n > 0 && n <= SL_ID_CHARS && text[n] == '\0';
}

bool
sl_secret_equal(const char *a, const char *b)
{
    size_t n_a = strlen(a), n_b = strlen(b);
    unsigned char difference = n_a != n_b;

    for (size_t i = 0; i < n_a && n_b > 0; i++)
        difference |= (unsigned char)(a[i] ^ b[i % n_b]);
    return difference == 0;
}
