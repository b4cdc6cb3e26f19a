#!/usr/bin/env python3
"""generate.py SPEC HEADER SOURCE: C structs and field tables of spec/engine-api.yaml. Never logic."""
import re
import sys

import yaml

PLAIN = {
    "string": ("char *", "SL_JSON_STRING"), "bool": ("bool ", "SL_JSON_BOOL"), "int": ("int ", "SL_JSON_INT"),
    "int64": ("int64_t ", "SL_JSON_INT64"), "double": ("double ", "SL_JSON_DOUBLE"),
    "strings": ("char **", "SL_JSON_STRV"), "any": ("json_t *", "SL_JSON_ANY"),
    "pair": ("int ", "SL_JSON_INT_PAIR"),
}
FLAGS = {
    "required": "SL_JSON_REQUIRED", "omit": "SL_JSON_OMIT_EMPTY", "null": "SL_JSON_NULL_EMPTY",
    "maybe": "SL_JSON_PRESENCE", "alone": "SL_JSON_STRING_OR_LIST", "readonly": "SL_JSON_READ_ONLY",
}


def snake(name):
    for whole, plain in (("IPv", "Ipv"), ("IOps", "Iops"), ("IPs", "Ips"), ("IDs", "Ids")):
        name = name.replace(whole, plain)
    name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()


class Field:
    def __init__(self, owner, key, text, types):
        words = text.split()
        self.key, self.member, self.flags = key, snake(key), []
        self.nested, self.suffix = None, ""
        kind = words.pop(0)
        if kind == "map":
            self.type, self.kind = "json_t *", "SL_JSON_MAP"
            if words and words[0] == "string":
                self.flags.append("SL_JSON_STRING_VALUES")
                words.pop(0)
            if words and words[0] == "list":
                self.flags.append("SL_JSON_LIST_VALUES")
                words.pop(0)
            if words and words[0] in types:
                self.nested = words.pop(0)
        elif kind == "list":
            self.type, self.kind, self.nested = "SlJsonArray ", "SL_JSON_ARRAY", words.pop(0)
        elif kind in PLAIN:
            self.type, self.kind = PLAIN[kind]
            self.suffix = "[2]" if kind == "pair" else ""
        elif kind in types:
            self.type, self.kind, self.nested = f"Dk{kind} ", "SL_JSON_OBJECT", kind
        else:
            sys.exit(f"{owner}.{key}: unknown kind {kind}")
        for word in words:
            if word not in FLAGS:
                sys.exit(f"{owner}.{key}: unknown flag {word}")
            self.flags.append(FLAGS[word])
        self.maybe = "maybe" in words

    def declaration(self):
        comment = f" /* of Dk{self.nested} */" if self.nested and self.kind == "SL_JSON_ARRAY" else ""
        lines = [f"    {self.type}{self.member}{self.suffix};{comment}"]
        if self.maybe:
            lines.append(f"    bool has_{self.member};")
        return lines

    def initialiser(self, struct):
        parts = [f'.key = "{self.key}"', f".kind = {self.kind}"]
        if self.flags:
            parts.append(".flags = " + " | ".join(self.flags))
        parts.append(f".offset = offsetof({struct}, {self.member})")
        if self.nested:
            parts.append(f".nested = dk_{snake(self.nested)}_fields")
            if self.kind != "SL_JSON_OBJECT":
                parts.append(f".nested_size = sizeof(Dk{self.nested})")
        if self.maybe:
            parts.append(f".present = offsetof({struct}, has_{self.member})")
        return "    { " + ", ".join(parts) + " },"


def fields_of(name, types):
    fields = []
    for key, text in types[name].items():
        if key in ("include", "prefix"):
            fields += fields_of(text, types)
        else:
            fields.append(Field(name, key, text, types))
    return fields


def main(spec_path, header_path, source_path):
    with open(spec_path, encoding="utf-8") as spec:
        types = yaml.safe_load(spec)["types"]
    header = ["/* Made from spec/engine-api.yaml by api/generate.py. */", "#pragma once", "",
              '#include "common/json_fields.h"', ""]
    source = ['#include "api/gen/types.gen.h"', ""]
    for name in types:
        struct, stem = f"Dk{name}", f"dk_{snake(name)}"
        fields = fields_of(name, types)
        header += [f"typedef struct {struct} {{"] + [line for field in fields for line in field.declaration()]
        header += [f"}} {struct};", f"extern const SlJsonField {stem}_fields[];",
                   "static inline void", f"{stem}_clear({struct} *record)", "{",
                   f"    sl_json_clear({stem}_fields, record);", "}",
                   f"G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC({struct}, {stem}_clear)", ""]
        source.append(f"const SlJsonField {stem}_fields[] = {{")
        source += [field.initialiser(struct) for field in fields]
        source += ["    { 0 },", "};", ""]
        if "prefix" in types[name]:
            prefix = types[name]["prefix"]
            last = fields_of(prefix, types)[-1].member
            source += [f"_Static_assert(offsetof({struct}, {last}) == offsetof(Dk{prefix}, {last}),",
                       f'               "{struct} begins as Dk{prefix}");', ""]
    for path, lines in ((header_path, header), (source_path, source)):
        with open(path, "w", encoding="utf-8") as out:
            out.write("\n".join(lines))


main(*sys.argv[1:])
