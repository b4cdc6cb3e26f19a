#include "oci/reference.h"

#include <string.h>

#define HEX64  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define DIGEST "sha256:" HEX64

static const struct {
    const char *text, *full, *familiar;
} good[] = {
    { "alpine", "docker.io/library/alpine:latest", "alpine:latest" },
    { "alpine:3.19", "docker.io/library/alpine:3.19", "alpine:3.19" },
    { "docker.io/alpine", "docker.io/library/alpine:latest", "alpine:latest" },
    { "index.docker.io/library/alpine", "docker.io/library/alpine:latest", "alpine:latest" },
    { "library/alpine", "docker.io/library/alpine:latest", "alpine:latest" },
    { "library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest" },
    { "user/app", "docker.io/user/app:latest", "user/app:latest" },
    { "sockerless/base", "docker.io/sockerless/base:latest", "sockerless/base:latest" },
    /* A port needs a path behind it; alone it is a tag. */
    { "localhost:5000", "docker.io/library/localhost:5000", "localhost:5000" },
    { "localhost:5000/x", "localhost:5000/x:latest", "localhost:5000/x:latest" },
    { "localhost:5000/x:1", "localhost:5000/x:1", "localhost:5000/x:1" },
    { "localhost/x", "localhost/x:latest", "localhost/x:latest" },
    { "host/x", "docker.io/host/x:latest", "host/x:latest" },
    { "host.io/x", "host.io/x:latest", "host.io/x:latest" },
    { "host:443/a/b/c:v1", "host:443/a/b/c:v1", "host:443/a/b/c:v1" },
    { "127.0.0.1:5055/none:1", "127.0.0.1:5055/none:1", "127.0.0.1:5055/none:1" },
    { "[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest" },
    { "[fe80::1]/x", "[fe80::1]/x:latest", "[fe80::1]/x:latest" },
    { "Host.io/x", "Host.io/x:latest", "Host.io/x:latest" },
    { "alpine@" DIGEST, "docker.io/library/alpine@" DIGEST, "alpine@" DIGEST },
    { "alpine:3@" DIGEST, "docker.io/library/alpine:3@" DIGEST, "alpine:3@" DIGEST },
    { "a.b-c__d_e---f", "docker.io/library/a.b-c__d_e---f:latest", "a.b-c__d_e---f:latest" },
    { "x:_Tag.1-2", "docker.io/library/x:_Tag.1-2", "x:_Tag.1-2" },
};

static const struct {
    const char *text, *message;
} bad[] = {
    { "", "invalid reference format" },
    { ":tag", "invalid reference format" },
    { "Alpine", "invalid reference format: repository name must be lowercase" },
    { "localhost:5000/App", "invalid reference format: repository name must be lowercase" },
    { "UPPER/case", "invalid reference format: repository name must be lowercase" },
    { "alpine:", "invalid reference format" },
    { "alpine:.x", "invalid reference format" },
    { "alpine:-x", "invalid reference format" },
    { "alpine:a:b", "invalid reference format" },
    { "alpine@", "invalid reference format" },
    { "alpine@sha256:short", "invalid reference format" },
    { "alpine@" DIGEST "0", "invalid reference format" },
    { "alpine@sha512:" HEX64 HEX64, "unsupported digest algorithm" },
    { "alpine@" DIGEST "@" DIGEST, "invalid reference format" },
    { "a//b", "invalid reference format" },
    { "/a", "invalid reference format" },
    { "a/", "invalid reference format" },
    { "-a", "invalid reference format" },
    { "a-", "invalid reference format" },
    { "a___b", "invalid reference format" },
    { "a..b", "invalid reference format" },
    { "a b", "invalid reference format" },
    { "a\nb", "invalid reference format" },
    { "../../etc/passwd", "invalid reference format" },
    { "host.io/../x", "invalid reference format" },
    { "-host.io/x", "invalid reference format" },
    { "host.io:/x", "invalid reference format" },
    { "host.io:8x/x", "invalid reference format" },
    { "http://host/x", "invalid reference format" },
    { "a\xc3\xa9", "invalid reference format" },
    { HEX64, "invalid repository name (" HEX64 "), cannot specify 64-byte hexadecimal strings" },
};

static void
test_reads_what_docker_reads(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
        g_auto(SlReference) reference = { 0 };
        g_autoptr(GError) error = NULL;
        g_autofree char *full = NULL;
        g_autofree char *familiar = NULL;

        sl_reference_parse(good[i].text, true, &reference, &error);
        g_assert_no_error(error);
        full = sl_reference_format(&reference);
        familiar = sl_reference_familiar(&reference);
        g_assert_cmpstr(full, ==, good[i].full);
        g_assert_cmpstr(familiar, ==, good[i].familiar);
    }
}

static void
test_refuses_in_docker_s_words(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_auto(SlReference) reference = { 0 };
        g_autoptr(GError) error = NULL;

        g_assert_false(sl_reference_parse(bad[i].text, true, &reference, &error));
        g_assert_error(error, SL_ERROR, SL_ERROR_INVALID);
        g_assert_cmpstr(error->message, ==, bad[i].message);
        g_assert_null(reference.path);
    }
}

static void
test_limits_lengths(void)
{
    g_autofree char *tag = g_strnfill(129, 't');
    g_autofree char *name = g_strnfill(250, 'n');
    g_autofree char *long_tag = g_strconcat("alpine:", tag, NULL);
    g_autofree char *huge = g_strnfill(100000, 'a');
    g_auto(SlReference) reference = { 0 };
    g_autoptr(GError) error = NULL;

    g_assert_false(sl_reference_parse(long_tag, true, &reference, NULL));
    g_assert_false(sl_reference_parse(huge, true, &reference, NULL));
    g_assert_false(sl_reference_parse(name, true, &reference, &error));
    g_assert_cmpstr(error->message, ==, "repository name must not be more than 255 characters");
}

static void
test_without_default_tag_none_is_added(void)
{
    g_auto(SlReference) reference = { 0 };

    g_assert_true(sl_reference_parse("alpine", false, &reference, NULL));
    g_assert_null(reference.tag);
    g_assert_null(reference.digest);
}

static bool
matches(const char *text, const char *pattern)
{
    g_auto(SlReference) reference = { 0 };

    g_assert_true(sl_reference_parse(text, true, &reference, NULL));
    return sl_reference_matches(&reference, pattern);
}

static void
test_filter_patterns(void)
{
    g_assert_true(matches("alpine:3", "alpine"));
    g_assert_true(matches("alpine:3", "alpine:3"));
    g_assert_true(matches("alpine:3", "alp*"));
    g_assert_true(matches("alpine:3", "alpine:*"));
    g_assert_true(matches("user/app:1", "*/*"));
    g_assert_true(matches("user/app:1", "user/app"));
    g_assert_false(matches("alpine:3", "alpine:4"));
    g_assert_false(matches("alpine:3", "alp"));
    g_assert_false(matches("user/app:1", "*"));
    g_assert_false(matches("user/app:1", "app"));
}

static void
test_digests(void)
{
    g_assert_true(sl_digest_is_valid(DIGEST));
    g_assert_false(sl_digest_is_valid(NULL));
    g_assert_false(sl_digest_is_valid(""));
    g_assert_false(sl_digest_is_valid("sha256:../../../../etc/passwd"));
    g_assert_false(sl_digest_is_valid(DIGEST "0"));
    g_assert_false(
        sl_digest_is_valid("sha256:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef"));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/reference/reads-what-docker-reads", test_reads_what_docker_reads);
    g_test_add_func("/reference/refuses-in-docker-s-words", test_refuses_in_docker_s_words);
    g_test_add_func("/reference/limits-lengths", test_limits_lengths);
    g_test_add_func("/reference/without-default-tag-none-is-added", test_without_default_tag_none_is_added);
    g_test_add_func("/reference/filter-patterns", test_filter_patterns);
    g_test_add_func("/reference/digests", test_digests);
    return g_test_run();
}
