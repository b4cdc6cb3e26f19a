/* Errors: a GError that knows its HTTP status and holds the sentence the user will read. */
#pragma once

#include <glib.h>
#include <stdbool.h>

typedef enum SlErrorCode { /* Docker's error classes; sl_error_http_status() is the only map to numbers */
                           SL_ERROR_INVALID,      /* 400 */
                           SL_ERROR_UNAUTHORIZED, /* 401 */
                           SL_ERROR_FORBIDDEN,    /* 403 */
                           SL_ERROR_NOT_FOUND,    /* 404 */
                           SL_ERROR_METHOD,       /* 405 */
                           SL_ERROR_CONFLICT,     /* 409 */
                           SL_ERROR_TOO_LARGE,    /* 413 */
                           SL_ERROR_HEADERS,      /* 431 */
                           SL_ERROR_SYSTEM,       /* 500 */
                           SL_ERROR_UNSUPPORTED,  /* 501 */
                           SL_ERROR_UNAVAILABLE,  /* 503 */
                           SL_ERROR_DEADLINE,     /* 504 */
                           SL_ERROR_NO_SPACE,     /* 507: the disk is full */
                           SL_ERROR_NOT_MODIFIED, /* 304: already started, already stopped */
                           SL_ERROR_CANCELLED,    /* the client left: nobody reads an answer */
} SlErrorCode;

#define SL_ERROR sl_error_quark()
GQuark sl_error_quark(void);

/* Sets error (which may be NULL) and returns false, so that `return sl_fail(…)` raises. */
bool sl_fail(GError **error, SlErrorCode code, const char *format, ...) G_GNUC_PRINTF(3, 4);
/* The same with ": strerror(errnum)" appended. A full disk is SL_ERROR_NO_SPACE, a lack of descriptors, memory or processes
 * SL_ERROR_UNAVAILABLE; ENOENT and the like stay SL_ERROR_SYSTEM: the caller knows better. */
bool sl_fail_errno(GError **error, int errnum, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* 500 for an error of another domain. */
unsigned sl_error_http_status(const GError *error);
/* The reverse, for an answer that came over HTTP; 5xx unknown to us → SL_ERROR_SYSTEM, 4xx → SL_ERROR_INVALID. */
SlErrorCode sl_error_code_from_http(unsigned status);
