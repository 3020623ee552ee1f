// What the writers of JSON and of SARIF share.
#ifndef JSON_TEXT_H
#define JSON_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

// A string; NULL: null. Bytes that are no UTF-8 are replaced.
json_t *json_text(const char *s);
json_t *json_address(uint64_t address); // "0x..."

// Sets the key unless the text is NULL.
void json_text_set(json_t *object, const char *key, const char *text);

// Writes a value into an array that is being written: large reports never are in memory as a whole.
// *first: it is the array's first. The value is given up.
void json_item_write(json_t *value, bool *first, FILE *out);
// A key and its value, compact, followed by `after`.
void json_member_write(const char *key, json_t *value, const char *after, FILE *out);

#endif
