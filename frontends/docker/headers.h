/* What every answer carries. */
#pragma once

/* name, value, …, NULL */
extern const char *const sl_frontend_headers[];
