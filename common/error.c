#include "common/error.h"

#include <errno.h>

static const struct {
    SlErrorCode code;
    unsigned status;
} statuses[] = {
    { SL_ERROR_INVALID, 400 },     { SL_ERROR_UNAUTHORIZED, 401 }, { SL_ERROR_FORBIDDEN, 403 },
    { SL_ERROR_NOT_FOUND, 404 },   { SL_ERROR_METHOD, 405 },       { SL_ERROR_CONFLICT, 409 },
    { SL_ERROR_TOO_LARGE, 413 },   { SL_ERROR_HEADERS, 431 },      { SL_ERROR_SYSTEM, 500 },
    { SL_ERROR_UNSUPPORTED, 501 }, { SL_ERROR_UNAVAILABLE, 503 },  { SL_ERROR_DEADLINE, 504 },
    { SL_ERROR_NO_SPACE, 507 },    { SL_ERROR_NOT_MODIFIED, 304 }, { SL_ERROR_CANCELLED, 499 },
};

/* G_DEFINE_QUARK keeps the quark in a plain variable: a data race when two threads raise their first errors. */
GQuark
sl_error_quark(void)
{
    static _Atomic GQuark quark;

    if (!quark)
        quark = g_quark_from_static_string("sl-error");
    return quark;
}

bool
sl_fail(GError **error, SlErrorCode code, const char *format, ...)
{
    va_list args;

    if (!error)
        return false;
    va_start(args, format);
    g_propagate_error(error, g_error_new_valist(SL_ERROR, (int)code, format, args));
    va_end(args);
    return false;
}

static SlErrorCode
code_of_errno(int errnum)
{
    switch (errnum) {
    case ENOSPC:
    case EDQUOT:
        return SL_ERROR_NO_SPACE;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EAGAIN: /* of fork and of a new thread */
        return SL_ERROR_UNAVAILABLE;
    default:
        return SL_ERROR_SYSTEM;
    }
}

bool
sl_fail_errno(GError **error, int errnum, const char *format, ...)
{
    g_autofree char *what = NULL;
    va_list args;

    va_start(args, format);
    what = g_strdup_vprintf(format, args);
    va_end(args);
    return sl_fail(error, code_of_errno(errnum), "%s: %s", what, g_strerror(errnum));
}

unsigned
sl_error_http_status(const GError *error)
{
    if (error->domain == SL_ERROR)
        for (size_t i = 0; i < G_N_ELEMENTS(statuses); i++)
            if ((int)statuses[i].code == error->code)
                return statuses[i].status;
    return 500;
}

SlErrorCode
sl_error_code_from_http(unsigned status)
{
    for (size_t i = 0; i < G_N_ELEMENTS(statuses); i++)
        if (statuses[i].status == status)
            return statuses[i].code;
    return status >= 400 && status < 500 ? SL_ERROR_INVALID : SL_ERROR_SYSTEM;
}
