/* Any text as WWW-Authenticate and as X-Registry-Auth. */
#include "oci/registry_internal.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    g_auto(SlChallenge) challenge = { 0 };
    g_auto(SlRegistryAuth) auth = { 0 };

    sl_challenge_parse(text, &challenge);
    sl_registry_auth_parse(text, &auth, NULL);
    return 0;
}
