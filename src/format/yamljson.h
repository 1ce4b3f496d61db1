/* YAML as the JSON that it means: of a document that is handed on, not of our own configuration. */
#pragma once

#include "format/yaml.h"

#include <jansson.h>

/* What is written without quotes is a number, true or false if it looks like one, as YAML 1.2 has
 * it. The caller's (json_decref). */
json_t *yaml_json(const struct yaml_node *node);

/* A text of several documents (`---` between them), each parsed by itself; JSON is YAML, too. *ret:
 * a list of those that are not empty. ERR_USAGE names `path`, line and column. */
must_check int yaml_json_documents(const char *path, const char *text, json_t **ret,
                                   struct err *err);
