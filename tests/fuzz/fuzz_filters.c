/* The filters parameter: what is accepted is accepted again in its normal form, which stays as it is. */
#include "api/filters.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    g_autofree char *text = g_strndup((const char *)data, n);
    g_autoptr(DkFilters) filters = dk_filters_parse(text, NULL, NULL);
    g_autofree char *once = filters ? dk_filters_format(filters) : NULL;
    g_autoptr(DkFilters) again = once ? dk_filters_parse(once, NULL, NULL) : NULL;
    g_autofree char *twice = again ? dk_filters_format(again) : NULL;

    if (!filters)
        return 0;
    g_assert_cmpstr(once, ==, twice);
    dk_filters_match_regex(filters, "name", "/some-name");
    dk_filters_match_prefix(filters, "id", "0123456789ab");
    dk_filters_match_labels(filters, "label", NULL);
    return 0;
}
