// See room.h.
#include "room.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAILED 125 // the command's own failure (contract)

void room_end(void)
{
    fputs("salvage: out of memory\n", stderr);
    exit(FAILED);
}

static void *room_or_end(void *p)
{
    if (!p)
        room_end();
    return p;
}

void *room_new(size_t n, size_t each)
{
    return room_or_end(calloc(n ? n : 1, each));
}

char *room_text(const char *text, size_t n)
{
    char *copy = room_new(n + 1, 1);
    memcpy(copy, text, n);
    return copy;
}

void *room_more(void *array, size_t n, size_t *capacity, size_t each)
{
    if (n < *capacity)
        return array;
    *capacity = *capacity ? *capacity * 2 : 16;
    return room_or_end(reallocarray(array, *capacity, each));
}

void text_add(struct text *text, const char *s, size_t n)
{
    if (text->capacity - text->n <= n) {
        text->capacity = (text->n + n + 1) * 2;
        text->s = room_or_end(realloc(text->s, text->capacity));
    }
    memcpy(text->s + text->n, s, n);
    text->n += n;
    text->s[text->n] = '\0';
}

void text_print(struct text *text, const char *format, ...)
{
    char *s = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&s, format, args);
    va_end(args);
    text_add(text, room_or_end(n < 0 ? NULL : s), n < 0 ? 0 : (size_t)n);
    free(s);
}
