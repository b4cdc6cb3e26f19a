/* The handlers of every group; what each takes and answers is Engine API v1.44. */
#pragma once

#include "net/http_server.h"

bool container_list(SlCall *call, GError **error);
bool container_create(SlCall *call, GError **error);
bool container_inspect(SlCall *call, GError **error);
bool container_start(SlCall *call, GError **error);
bool container_stop(SlCall *call, GError **error);
bool container_restart(SlCall *call, GError **error);
bool container_kill(SlCall *call, GError **error);
bool container_pause(SlCall *call, GError **error);
bool container_update(SlCall *call, GError **error);
bool container_wait(SlCall *call, GError **error);
bool container_attach(SlCall *call, GError **error);
bool container_resize(SlCall *call, GError **error);
bool container_logs(SlCall *call, GError **error);
bool container_rename(SlCall *call, GError **error);
bool container_top(SlCall *call, GError **error);
bool container_remove(SlCall *call, GError **error);
bool container_prune(SlCall *call, GError **error);

bool exec_create(SlCall *call, GError **error);
bool exec_start(SlCall *call, GError **error);
bool exec_resize(SlCall *call, GError **error);
bool exec_inspect(SlCall *call, GError **error);

bool image_list(SlCall *call, GError **error);
bool image_create(SlCall *call, GError **error);
bool image_inspect(SlCall *call, GError **error);
bool image_history(SlCall *call, GError **error);
bool image_load(SlCall *call, GError **error);
bool image_save(SlCall *call, GError **error);
bool image_prune(SlCall *call, GError **error);
bool image_tag(SlCall *call, GError **error);
bool image_remove(SlCall *call, GError **error);

bool network_list(SlCall *call, GError **error);
bool network_inspect(SlCall *call, GError **error);
bool network_create(SlCall *call, GError **error);
bool network_remove(SlCall *call, GError **error);
bool network_connect(SlCall *call, GError **error);
bool network_disconnect(SlCall *call, GError **error);
bool network_prune(SlCall *call, GError **error);
bool volume_list(SlCall *call, GError **error);
bool volume_inspect(SlCall *call, GError **error);
bool plugin_list(SlCall *call, GError **error);
bool plugin_inspect(SlCall *call, GError **error);

bool system_ping(SlCall *call, GError **error);
bool system_version(SlCall *call, GError **error);
bool system_info(SlCall *call, GError **error);
bool system_auth(SlCall *call, GError **error);
bool system_events(SlCall *call, GError **error);

/* 501 that names the endpoint. */
bool not_supported(SlCall *call, GError **error);
