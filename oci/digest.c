#include "oci/digest.h"

#include <openssl/evp.h>
#include <string.h>

#include "oci/content.h"

struct SlDigester {
    EVP_MD_CTX *context;
};

SlDigester *
sl_digester_new(void)
{
    SlDigester *digester = g_new0(SlDigester, 1);
    int done;

    digester->context = EVP_MD_CTX_new();
    done = digester->context ? EVP_DigestInit_ex(digester->context, EVP_sha256(), NULL) : 0;
    g_assert(done == 1); /* fails only when memory is out or OpenSSL has no SHA-256 */
    return digester;
}

void
sl_digester_update(SlDigester *digester, const void *data, size_t n)
{
    int done = EVP_DigestUpdate(digester->context, data, n);

    g_assert(done == 1);
}

char *
sl_digester_finish(SlDigester *digester)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    GString *text = g_string_sized_new(SL_DIGEST_CHARS);
    int done = EVP_DigestFinal_ex(digester->context, raw, &n);

    g_assert(done == 1);
    g_string_append(text, "sha256:");
    for (unsigned i = 0; i < n; i++) {
        g_string_append_c(text, digits[raw[i] >> 4]);
        g_string_append_c(text, digits[raw[i] & 15]);
    }
    return g_string_free(text, FALSE);
}

void
sl_digester_free(SlDigester *digester)
{
    if (!digester)
        return;
    EVP_MD_CTX_free(digester->context);
    g_free(digester);
}

const char *
sl_digest_hex(const char *digest)
{
    return digest + strlen("sha256:");
}

char *
sl_digest_of(const void *data, size_t n)
{
    g_autoptr(SlDigester) digester = sl_digester_new();

    sl_digester_update(digester, data, n);
    return sl_digester_finish(digester);
}
