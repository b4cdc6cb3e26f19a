/* The settings of a server's TLS, named as dockerd names them, for every program that listens. */
#pragma once

#include "common/settings.h"
#include "net/tls.h"

typedef struct SlTlsSettings {
    bool is_on, must_verify;
    char *ca, *cert, *key;
} SlTlsSettings;

/* Rows of a table of SlSetting; member is an SlTlsSettings of Type. */
#define SL_TLS_SETTINGS(Type, member)                                                                        \
    SL_SETTING(Type, member.is_on, "tls", SL_SETTING_BOOL, NULL, "TLS on TCP; --tlsverify implies it"),      \
        SL_SETTING(Type, member.must_verify, "tlsverify", SL_SETTING_BOOL, NULL,                             \
                   "TLS on TCP, and only for clients with a certificate that --tlscacert signed"),           \
        SL_SETTING(Type, member.ca, "tlscacert", SL_SETTING_STRING, "FILE",                                  \
                   "certificates of those who sign clients' certificates (PEM)"),                            \
        SL_SETTING(Type, member.cert, "tlscert", SL_SETTING_STRING, "FILE",                                  \
                   "the server's certificate, its chain behind it (PEM)"),                                   \
        SL_SETTING(Type, member.key, "tlskey", SL_SETTING_STRING, "FILE", "the server's private key (PEM)")

/* *ret_tls stays NULL when TLS is off. Errors: SL_ERROR_INVALID naming the setting. */
bool sl_tls_settings_open(const SlTlsSettings *settings, SlTls **ret_tls, GError **error);
/* Who connects proves who it is: such a server may listen beyond loopback. */
bool sl_tls_settings_verify(const SlTlsSettings *settings);
