#include "oci/image.h"

#include <string.h>

static bool
word_is_valid(const char *word)
{
    size_t n = strlen(word);

    if (n == 0 || n > 64 || !g_ascii_isalnum(*word))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!g_ascii_isalnum(word[i]) && !strchr("_.-", word[i]))
            return false;
    return true;
}

static bool
is_one_of(const char *word, const char *const *words)
{
    return g_strv_contains(words, word);
}

/* Other names of one architecture, as containerd's platforms package normalises them. */
static void
architecture_normalise(SlPlatform *platform)
{
    static const struct {
        const char *alias, *architecture, *variant;
    } aliases[] = {
        { "x86_64", "amd64", NULL }, { "x86-64", "amd64", NULL }, { "aarch64", "arm64", NULL },
        { "i386", "386", NULL },     { "armhf", "arm", "v7" },    { "armel", "arm", "v6" },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(aliases); i++)
        if (strcmp(platform->architecture, aliases[i].alias) == 0) {
            g_free(platform->architecture);
            platform->architecture = g_strdup(aliases[i].architecture);
            if (!platform->variant)
                platform->variant = g_strdup(aliases[i].variant);
            break;
        }
    /* arm64/v8 and amd64/v1 are what every such machine is. */
    if (platform->variant &&
        ((strcmp(platform->architecture, "arm64") == 0 && strcmp(platform->variant, "v8") == 0) ||
         (strcmp(platform->architecture, "amd64") == 0 && strcmp(platform->variant, "v1") == 0)))
        g_clear_pointer(&platform->variant, g_free);
}

/* "linux" or "arm64" alone. */
static void
lone_word(char *word, SlPlatform *platform)
{
    static const char *const systems[] = { "linux", "windows", "darwin", "freebsd", NULL };

    sl_platform_host(platform);
    if (is_one_of(word, systems)) {
        g_free(platform->os);
        platform->os = g_strdup(word);
    } else {
        g_free(platform->architecture);
        platform->architecture = g_strdup(word);
    }
}

bool
sl_platform_parse(const char *text, SlPlatform *ret_platform, GError **error)
{
    g_auto(SlPlatform) platform = { 0 };
    g_autofree char *lower = g_ascii_strdown(text, -1);
    g_auto(GStrv) parts = g_strsplit(lower, "/", 4);
    guint n = g_strv_length(parts);
    bool ok = n >= 1 && n <= 3;

    for (guint i = 0; ok && i < n; i++)
        ok = word_is_valid(parts[i]);
    if (!ok)
        return sl_fail(error, SL_ERROR_INVALID,
                       "\"%s\" is an invalid platform: expected os/architecture[/variant]", text);

    if (n == 1) {
        lone_word(parts[0], &platform);
    } else {
        platform.os = g_strdup(parts[0]);
        platform.architecture = g_strdup(parts[1]);
        platform.variant = g_strdup(parts[2]);
    }
    architecture_normalise(&platform);

    *ret_platform = platform;
    platform = (SlPlatform){ 0 };
    return true;
}

void
sl_platform_clear(SlPlatform *platform)
{
    g_free(platform->os);
    g_free(platform->architecture);
    g_free(platform->variant);
    *platform = (SlPlatform){ 0 };
}

void
sl_platform_host(SlPlatform *ret_platform)
{
#if defined(__x86_64__)
    static const char architecture[] = "amd64";
#elif defined(__aarch64__)
    static const char architecture[] = "arm64";
#else
#error "this machine's name in image platforms is not known"
#endif

    *ret_platform = (SlPlatform){ .os = g_strdup("linux"), .architecture = g_strdup(architecture) };
}
