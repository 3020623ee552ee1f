// Text for formats that insist on UTF-8.
#include "render.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define MARK "\xef\xbf\xbd"

static const struct {
    const char *from, *json, *xml;
} cases[] = {
    {"", "", ""},
    {"plain\ttext\n", "plain\ttext\n", "plain\ttext\n"},
    {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
     "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
    {"a\x01"
     "b\x7f",
     "a\x01"
     "b\x7f",
     "a" MARK "b\x7f"},
    {"\x80z", MARK "z", MARK "z"},
    {"z\xc3", "z" MARK, "z" MARK},
    {"\xc3z\xe2\x82z", MARK "z" MARK MARK "z", MARK "z" MARK MARK "z"},
    {"\xc1\xbf", MARK MARK, MARK MARK},                             // too long for its value
    {"\xe0\x9f\xbf", MARK MARK MARK, MARK MARK MARK},               // the same
    {"\xed\xa0\x80", MARK MARK MARK, MARK MARK MARK},               // half of a pair
    {"\xf4\x90\x80\x80", MARK MARK MARK MARK, MARK MARK MARK MARK}, // beyond the last
    {"\xf8\x88\x80\x80\x80", MARK MARK MARK MARK MARK, MARK MARK MARK MARK MARK},
    {"\xef\xbf\xbe", "\xef\xbf\xbe", MARK MARK MARK}, // not in XML
};

Test(text, what_is_no_utf8_is_marked)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct text room = {0};
        cr_assert_str_eq(text_clean(&room, cases[i].from, false), cases[i].json, "%zu", i);
        cr_assert_str_eq(text_clean(&room, cases[i].from, true), cases[i].xml, "%zu", i);
        free(room.s);
    }
}
