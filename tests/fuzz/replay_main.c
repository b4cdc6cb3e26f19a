/*
 * usage: fuzz_x FILE-OR-FOLDER...
 *
 * Runs a fuzz target over stored inputs, so that what a fuzzer found once stays found in ordinary test runs. Each input goes in whole, then
 * cut in half: half of a valid input is what a torn connection leaves. TAP: one line a file.
 */
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
replay_file(const char *path, unsigned *count)
{
    g_autofree char *text = NULL;
    g_autofree char *exact = NULL;
    g_autoptr(GError) error = NULL;
    size_t n;

    if (!g_file_get_contents(path, &text, &n, &error)) {
        printf("not ok %u - %s\n", ++*count, error->message);
        return false;
    }
    for (size_t length = n;; length /= 2) {
        g_free(exact);
        exact = g_memdup2(text, length); /* a block of its own: the sanitizer sees a read past its end */
        LLVMFuzzerTestOneInput((const uint8_t *)exact, length);
        if (length < n || n == 0)
            break;
    }
    printf("ok %u - %s\n", ++*count, path);
    fflush(stdout);
    return true;
}

static bool
replay_folder(const char *path, unsigned *count)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;
    bool is_good = true;

    if (!dir)
        return replay_file(path, count);
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *file = g_build_filename(path, name, NULL);

        is_good &= replay_file(file, count);
    }
    return is_good;
}

int
main(int argc, char **argv)
{
    unsigned count = 0;
    bool is_good = true;

    for (int i = 1; i < argc; i++)
        is_good &= replay_folder(argv[i], &count);
    printf("1..%u\n", count);
    return is_good && count > 0 ? 0 : 1;
}
