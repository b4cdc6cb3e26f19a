#include "backends/core/event_filter.h"

#include <string.h>

const char *const sl_event_filter_keys[] = { "config", "container", "daemon", "event",  "image",
                                             "label",  "network",   "node",   "plugin", "scope",
                                             "secret", "service",   "type",   "volume", NULL };

/* Keys that name a thing of their type: by a prefix of its id or of its name. */
static const char *const thing_keys[] = { "config", "container", "daemon",  "network", "node",
                                          "plugin", "secret",    "service", "volume" };

static const char *
text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

/* "exec_create: /bin/sh -c x" is matched by itself and by "exec_create", "health_status: healthy" likewise. */
static bool
action_matches(const DkFilters *filters, const char *action)
{
    const char *colon = strstr(action, ": ");
    g_autofree char *verb = colon ? g_strndup(action, (gsize)(colon - action)) : NULL;

    return dk_filters_match_exact(filters, "event", action) ||
           (verb && dk_filters_match_exact(filters, "event", verb));
}

static bool
thing_matches(const DkFilters *filters, const char *key, const char *id, const char *name)
{
    return dk_filters_match_prefix(filters, key, id) || dk_filters_match_prefix(filters, key, name);
}

/* Without ":tag"; the colon of a registry's port stays. */
static char *
dup_without_tag(const char *image)
{
    const char *slash = strrchr(image, '/');
    const char *colon = strchr(slash ? slash : image, ':');

    return g_strndup(image, colon ? (gsize)(colon - image) : strlen(image));
}

/* Images by id or name, with or without the tag; containers by their image's. */
static bool
image_matches(const DkFilters *filters, const char *type, const char *id, const json_t *attributes)
{
    const char *name = text_of(attributes, strcmp(type, "image") == 0 ? "name" : "image");
    g_autofree char *bare_id = dup_without_tag(id);
    g_autofree char *bare_name = dup_without_tag(name);

    return dk_filters_match_exact(filters, "image", id) || dk_filters_match_exact(filters, "image", name) ||
           dk_filters_match_exact(filters, "image", bare_id) ||
           dk_filters_match_exact(filters, "image", bare_name);
}

bool
sl_event_matches(const DkFilters *filters, const json_t *event)
{
    const json_t *actor = json_object_get(event, "Actor");
    const json_t *attributes = json_object_get(actor, "Attributes");
    const char *type = text_of(event, "Type");
    const char *id = text_of(actor, "ID");

    for (size_t i = 0; i < G_N_ELEMENTS(thing_keys); i++) {
        if (!thing_matches(filters, thing_keys[i], id, text_of(attributes, "name")))
            return false;
    }
    return action_matches(filters, text_of(event, "Action")) &&
           dk_filters_match_exact(filters, "type", type) &&
           dk_filters_match_exact(filters, "scope", text_of(event, "scope")) &&
           image_matches(filters, type, id, attributes) &&
           dk_filters_match_labels(filters, "label", attributes);
}
