/* Any text as an image reference: what is accepted reads the same when it is written out and read again. */
#include "oci/reference.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    g_auto(SlReference) reference = { 0 };
    g_auto(SlReference) again = { 0 };
    g_autofree char *full = NULL;
    g_autofree char *familiar = NULL;
    g_autofree char *full_again = NULL;

    if (!sl_reference_parse(text, true, &reference, NULL))
        return 0;
    full = sl_reference_format(&reference);
    familiar = sl_reference_familiar(&reference);
    g_assert_true(sl_reference_parse(familiar, false, &again, NULL));
    full_again = sl_reference_format(&again);
    g_assert_cmpstr(full, ==, full_again);
    g_assert_null(strstr(reference.path, "..")); /* it becomes part of URLs */
    sl_reference_matches(&reference, text);
    return 0;
}
