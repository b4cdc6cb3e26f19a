/*
 * Functions of glibc that would load shared libraries at run time, in the place where a static link finds
 * them first. GLib refers to them from code that the agent never runs: a user's real name, character sets. In
 * the agent every name is unknown and every character set is UTF-8. Users of the container are looked up by
 * users.c.
 */
#include <errno.h>
#include <iconv.h>
#include <langinfo.h>
#include <pwd.h>
#include <stddef.h>

struct passwd *
getpwuid(uid_t uid)
{
    return NULL;
}

int
getpwuid_r(uid_t uid, struct passwd *entry, char *buffer, size_t n, struct passwd **ret_entry)
{
    *ret_entry = NULL;
    return 0;
}

int
getpwnam_r(const char *name, struct passwd *entry, char *buffer, size_t n, struct passwd **ret_entry)
{
    *ret_entry = NULL;
    return 0;
}

/* GLib asks only for the character set. Were it not UTF-8, g_strerror() would convert. */
char *
nl_langinfo(nl_item item)
{
    static char utf8[] = "UTF-8";

    return utf8;
}

iconv_t
iconv_open(const char *to, const char *from)
{
    errno = EINVAL;
    return (iconv_t)-1;
}

size_t
iconv(iconv_t conversion, char **in, size_t *n_in, char **out, size_t *n_out)
{
    errno = EBADF;
    return (size_t)-1;
}

int
iconv_close(iconv_t conversion)
{
    return 0;
}

/*
 * glibc's own loader of conversion modules; with it gone, nothing is left that opens a shared library. The
 * two are internal to glibc, and all that other parts of it use of that file. Conversions between built-in
 * character sets do not come here.
 */
struct __gconv_loaded_object;
struct __gconv_loaded_object *__gconv_find_shlib(const char *name);
void __gconv_release_shlib(struct __gconv_loaded_object *object);

struct __gconv_loaded_object *
__gconv_find_shlib(const char *name)
{
    return NULL;
}

void
__gconv_release_shlib(struct __gconv_loaded_object *object)
{
}
