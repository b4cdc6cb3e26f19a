#include "api/names.h"
#include "frontends/docker/frontend.h"

int
sl_frontend_api_version(SlCall *call)
{
    int version = sl_call_version(call);

    return version ? version : DK_API_VERSION;
}

bool
sl_frontend_admit(SlCall *call, GError **error)
{
    int version = sl_frontend_api_version(call);

    if (version > DK_API_VERSION)
        return sl_fail(
            error, SL_ERROR_INVALID,
            "client version %d.%d is too new. Maximum supported API version is " DK_API_VERSION_TEXT,
            version / 1000, version % 1000);
    if (version < DK_API_VERSION_MIN)
        return sl_fail(
            error, SL_ERROR_INVALID,
            "client version %d.%d is too old. Minimum supported API version is " DK_API_VERSION_MIN_TEXT
            ", please upgrade your client to a newer version",
            version / 1000, version % 1000);
    return true;
}
