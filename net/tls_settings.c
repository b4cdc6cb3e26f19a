#include "net/tls_settings.h"

#include "common/log.h"

#include <sys/stat.h>

bool
sl_tls_settings_open(const SlTlsSettings *settings, SlTls **ret_tls, GError **error)
{
    const char *given = settings->ca     ? "--tlscacert"
                        : settings->cert ? "--tlscert"
                        : settings->key  ? "--tlskey"
                                         : NULL;
    struct stat status;
    SlTls *tls;

    if (!settings->is_on && !settings->must_verify)
        return !given ||
               sl_fail(error, SL_ERROR_INVALID, "%s is of no use without --tls or --tlsverify", given);
    tls = sl_tls_server_new(&(SlTlsFiles){ settings->ca, settings->cert, settings->key, "" },
                            settings->must_verify, error);
    if (!tls)
        return false;
    if (stat(settings->key, &status) == 0 && (status.st_mode & (S_IRGRP | S_IROTH)))
        sl_warn("private key can be read by others than its owner path=%s", settings->key);
    *ret_tls = tls;
    return true;
}

bool
sl_tls_settings_verify(const SlTlsSettings *settings)
{
    return settings->must_verify;
}
