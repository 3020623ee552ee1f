// See json_text.h.
#include "json_text.h"

#include <inttypes.h>
#include <stdlib.h>

#include "render.h"

#define FLAGS (JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15))

json_t *json_text(const char *s)
{
    struct text room = {0};
    json_t *value = s ? json_string(text_clean(&room, s, false)) : json_null();
    free(room.s);
    return value;
}

json_t *json_address(uint64_t address)
{
    return json_sprintf("0x%" PRIx64, address);
}

void json_text_set(json_t *object, const char *key, const char *text)
{
    if (text)
        json_object_set_new(object, key, json_text(text));
}

// As one text: jansson's own way into a stream is a locked call for each comma.
static void value_write(json_t *value, FILE *out)
{
    char *text = json_dumps(value, FLAGS);
    if (text)
        fputs(text, out);
    else
        room_end();
    free(text);
    json_decref(value);
}

void json_item_write(json_t *value, bool *first, FILE *out)
{
    fputs(*first ? "\n" : ",\n", out);
    *first = false;
    value_write(value, out);
}

void json_member_write(const char *key, json_t *value, const char *after, FILE *out)
{
    fprintf(out, "\"%s\":", key);
    value_write(value, out);
    fputs(after, out);
}
