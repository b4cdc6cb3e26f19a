#include "api/names.h"

#include "common/id.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_S INT64_C(1000000000)

/* ---- container names ---- */

static bool
is_name_start(char c)
{
    return g_ascii_isalnum(c);
}

static bool
is_name(const char *text)
{
    if (!is_name_start(text[0]) || !text[1])
        return false;
    for (const char *c = text + 1; *c; c++)
        if (!is_name_start(*c) && *c != '_' && *c != '.' && *c != '-')
            return false;
    return true;
}

bool
dk_container_name_parse(const char *text, char **ret_name, GError **error)
{
    const char *name = text[0] == '/' ? text + 1 : text;

    if (!is_name(name))
        return sl_fail(error, SL_ERROR_INVALID,
                       "Invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", text);
    *ret_name = g_strdup(name);
    return true;
}

static const char *const adjectives[] = {
    "amber",  "brisk",  "calm",   "clear",  "copper", "crisp",    "dapper", "deep",   "eager", "early",
    "fair",   "fleet",  "fond",   "fresh",  "gentle", "glad",     "golden", "grand",  "hardy", "hazel",
    "honest", "jolly",  "keen",   "kind",   "light",  "lively",   "lucky",  "mellow", "merry", "mild",
    "misty",  "neat",   "nimble", "noble",  "open",   "patient",  "plain",  "proud",  "quick", "quiet",
    "rapid",  "ready",  "rosy",   "rustic", "silent", "silver",   "smooth", "snowy",  "sober", "solid",
    "spry",   "steady", "sunny",  "swift",  "tidy",   "tranquil", "upbeat", "vivid",  "warm",  "wild",
    "windy",  "wise",   "witty",  "young",
};

static const char *const nouns[] = {
    "acorn",   "anchor", "aspen",   "badger", "beacon", "birch",   "brook",  "canyon", "cedar",   "cliff",
    "comet",   "coral",  "crane",   "dune",   "eagle",  "ember",   "falcon", "fern",   "finch",   "fjord",
    "forest",  "fox",    "glacier", "grove",  "harbor", "hawk",    "heron",  "island", "ivy",     "juniper",
    "kestrel", "lagoon", "lark",    "lichen", "lynx",   "maple",   "marsh",  "meadow", "moose",   "moss",
    "oak",     "orchid", "otter",   "owl",    "pebble", "pine",    "plover", "pond",   "prairie", "quartz",
    "raven",   "reef",   "ridge",   "river",  "robin",  "sparrow", "spruce", "summit", "swan",    "thistle",
    "tundra",  "valley", "willow",  "wren",
};
G_STATIC_ASSERT(G_N_ELEMENTS(adjectives) == 64 && G_N_ELEMENTS(nouns) == 64);

char *
dk_container_name_make(unsigned attempt)
{
    g_autofree char *random = sl_id_random_hex(2);
    guint64 bits = g_ascii_strtoull(random, NULL, 16);
    const char *adjective = adjectives[bits & 63], *noun = nouns[bits >> 6 & 63];

    if (attempt == 0)
        return g_strdup_printf("%s_%s", adjective, noun);
    return g_strdup_printf("%s_%s%u", adjective, noun, (unsigned)(bits >> 12) % 10 + (attempt - 1) * 10);
}

/* ---- signals ---- */

static const struct {
    const char *name;
    int number;
} signals[] = {
    { "HUP", SIGHUP },       { "INT", SIGINT },       { "QUIT", SIGQUIT },   { "ILL", SIGILL },
    { "TRAP", SIGTRAP },     { "ABRT", SIGABRT },     { "IOT", SIGABRT },    { "BUS", SIGBUS },
    { "FPE", SIGFPE },       { "KILL", SIGKILL },     { "USR1", SIGUSR1 },   { "SEGV", SIGSEGV },
    { "USR2", SIGUSR2 },     { "PIPE", SIGPIPE },     { "ALRM", SIGALRM },   { "TERM", SIGTERM },
    { "STKFLT", SIGSTKFLT }, { "CHLD", SIGCHLD },     { "CLD", SIGCHLD },    { "CONT", SIGCONT },
    { "STOP", SIGSTOP },     { "TSTP", SIGTSTP },     { "TTIN", SIGTTIN },   { "TTOU", SIGTTOU },
    { "URG", SIGURG },       { "XCPU", SIGXCPU },     { "XFSZ", SIGXFSZ },   { "PROF", SIGPROF },
    { "IO", SIGIO },         { "POLL", SIGIO },       { "WINCH", SIGWINCH }, { "PWR", SIGPWR },
    { "SYS", SIGSYS },       { "VTALRM", SIGVTALRM },
};

enum { RT_MIN = 34, RT_MAX = 64 }; /* as Go counts them: the C library's two are not hidden */

/* "RTMIN+3", "RTMAX-2"; 0 when it is neither or out of range. */
static int
realtime_signal(const char *name)
{
    guint64 distance = 0;
    int base, number;

    if (!g_str_has_prefix(name, "RTMIN") && !g_str_has_prefix(name, "RTMAX"))
        return 0;
    base = name[3] == 'I' ? RT_MIN : RT_MAX;
    if (name[5] && (name[5] != (base == RT_MIN ? '+' : '-') ||
                    !g_ascii_string_to_unsigned(name + 6, 10, 1, RT_MAX - RT_MIN, &distance, NULL)))
        return 0;
    number = base == RT_MIN ? base + (int)distance : base - (int)distance;
    return number;
}

bool
dk_signal_parse(const char *text, int *ret_signal, GError **error)
{
    g_autofree char *upper = g_ascii_strup(text, -1);
    const char *name = g_str_has_prefix(upper, "SIG") ? upper + 3 : upper;
    guint64 number = 0;

    if (g_ascii_string_to_unsigned(text, 10, 1, RT_MAX, &number, NULL)) {
        *ret_signal = (int)number;
        return true;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(signals) && number == 0; i++)
        if (g_str_equal(name, signals[i].name))
            number = (guint64)signals[i].number;
    if (number == 0)
        number = (guint64)realtime_signal(name);
    if (number == 0)
        return sl_fail(error, SL_ERROR_INVALID, "Invalid signal: %s", text);
    *ret_signal = (int)number;
    return true;
}

const char *
dk_signal_name(int signal_number)
{
    for (size_t i = 0; i < G_N_ELEMENTS(signals); i++)
        if (signals[i].number == signal_number)
            return signals[i].name;
    return NULL;
}

/* ---- versions ---- */

/* Digits at *text, at most three; -1 for none. Moves on. */
static int
take_number(const char **text)
{
    int value = 0, n = 0;

    for (; g_ascii_isdigit(**text) && n < 3; (*text)++, n++)
        value = value * 10 + (**text - '0');
    return n > 0 ? value : -1;
}

int
dk_version_parse(const char *text)
{
    int major = take_number(&text), minor;

    if (major < 0 || *text != '.')
        return 0;
    text++;
    minor = take_number(&text);
    return minor < 0 || *text ? 0 : major * 1000 + minor;
}

/* ---- times ---- */

/* Seconds with an optional fraction, "1700000000.000000001"; exact, as a double would not be. */
static bool
parse_unix(const char *text, int64_t *ret_ns)
{
    gint64 seconds;
    int64_t fraction = 0, unit = NS_PER_S / 10;
    const char *end = text + (*text == '-');

    while (g_ascii_isdigit(*end))
        end++;
    if (end == text || end - text > 12 || !g_ascii_isdigit(end[-1]))
        return false;
    seconds = g_ascii_strtoll(text, NULL, 10);
    if (ABS(seconds) > INT64_MAX / NS_PER_S - 1)
        return false;
    if (*end == '.')
        for (end++; g_ascii_isdigit(*end); end++, unit /= 10)
            fraction += unit * (*end - '0');
    if (*end)
        return false;
    *ret_ns = seconds * NS_PER_S + (*text == '-' ? -fraction : fraction);
    return true;
}

/* Go's duration: "1h30m", "10m", "1.5s", "250ms". */
static bool
parse_duration(const char *text, int64_t *ret_ns)
{
    static const struct {
        const char *unit;
        double ns;
    } units[] = { { "ns", 1 },  { "us", 1e3 }, { "µs", 1e3 },  { "ms", 1e6 },
                  { "s", 1e9 }, { "m", 6e10 }, { "h", 3.6e12 } };
    double sum = 0, sign = 1;

    if (*text == '-' || *text == '+')
        sign = *text++ == '-' ? -1 : 1;
    if (!*text)
        return false;
    while (*text) {
        const char *start = text;
        char *end;
        double value;
        size_t n, i;

        if (!g_ascii_isdigit(*start) && *start != '.')
            return false;
        value = g_ascii_strtod(start, &end);
        n = strcspn(end, "0123456789.");
        for (i = 0; i < G_N_ELEMENTS(units); i++)
            if (strlen(units[i].unit) == n && strncmp(units[i].unit, end, n) == 0)
                break;
        if (i == G_N_ELEMENTS(units) || end == start)
            return false;
        sum += value * units[i].ns;
        text = end + n;
    }
    if (sum > 9e18)
        return false;
    *ret_ns = (int64_t)(sign * sum);
    return true;
}

static bool
parse_rfc3339(const char *text, int64_t *ret_ns)
{
    g_autoptr(GTimeZone) utc = g_time_zone_new_utc();
    g_autofree char *whole = NULL;
    g_autoptr(GDateTime) time = NULL;
    const char *point = strchr(text, '.');
    int64_t fraction = 0, unit = NS_PER_S / 10;

    /* GLib keeps microseconds only: the fraction is read here. */
    if (point) {
        const char *end = point + 1;

        for (; g_ascii_isdigit(*end); end++, unit /= 10)
            fraction += unit * (*end - '0');
        whole = g_strdup_printf("%.*s%s", (int)(point - text), text, end);
    } else {
        whole = g_strdup(text);
    }
    if (strlen(whole) == 10) { /* a day */
        g_autofree char *day = g_steal_pointer(&whole);

        whole = g_strdup_printf("%sT00:00:00", day);
    }
    time = g_date_time_new_from_iso8601(whole, utc);
    if (!time || g_date_time_get_year(time) < 1700 || g_date_time_get_year(time) > 2200) /* nanoseconds fit */
        return false;
    *ret_ns = g_date_time_to_unix(time) * NS_PER_S + fraction;
    return true;
}

bool
dk_time_parse(const char *text, const char *what, int64_t now_ns, int64_t *ret_ns, GError **error)
{
    int64_t ago;

    if (!text || !*text) {
        *ret_ns = 0;
        return true;
    }
    if (parse_unix(text, ret_ns))
        return true;
    if (parse_duration(text, &ago)) {
        *ret_ns = now_ns - ago;
        return true;
    }
    if (parse_rfc3339(text, ret_ns))
        return true;
    return sl_fail(error, SL_ERROR_INVALID, "invalid value \"%s\" for %s: not a time", text, what);
}

/* ---- environment ---- */

static size_t
name_length(const char *entry)
{
    return strcspn(entry, "=");
}

static bool
has_name(const char *entry, const char *name, size_t n)
{
    return name_length(entry) == n && strncmp(entry, name, n) == 0;
}

char **
dk_env_merge(char **base, const char *const *over)
{
    g_autoptr(GPtrArray) merged = g_ptr_array_new();

    for (char **entry = base; entry && *entry; entry++)
        g_ptr_array_add(merged, *entry);
    g_free(base); /* its strings are merged's now */

    for (; over && *over; over++) {
        size_t n = name_length(*over);
        bool removes = !(*over)[n];
        guint at = 0;

        while (at < merged->len && !has_name(merged->pdata[at], *over, n))
            at++;
        if (at < merged->len) {
            g_free(merged->pdata[at]);
            if (removes)
                g_ptr_array_remove_index(merged, at);
            else
                merged->pdata[at] = g_strdup(*over);
        } else if (!removes) {
            g_ptr_array_add(merged, g_strdup(*over));
        }
    }
    g_ptr_array_add(merged, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&merged), FALSE);
}
