// Memory of the command: arrays that grow and texts that grow. There is nothing to save when memory
// ends, so that ends the command with one line, and no caller has that case.
#ifndef ROOM_H
#define ROOM_H

#include <stddef.h>

_Noreturn void room_end(void);         // memory has ended
void *room_new(size_t n, size_t each); // zeroed; also for n == 0
char *room_text(const char *text, size_t n);

// The array, with room for at least one more than n; *capacity in elements, 0 and NULL at first.
void *room_more(void *array, size_t n, size_t *capacity, size_t each);

struct text { // ends in a zero byte as soon as something was added
    char *s;
    size_t n, capacity;
};

void text_add(struct text *text, const char *s, size_t n);
void text_print(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
