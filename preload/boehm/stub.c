// Parts of Boehm's face that aren't there yet.
#include "boehm.h"

#define STUB __attribute__((weak))
STUB void sv_uncollectable_hold(struct sv_marker *m) { (void)m; }
STUB void sv_kind_push(struct sv_marker *m) { (void)m; }
STUB bool sv_kind_settle(struct sv_marker *m) { (void)m; return false; }
STUB void sv_kind_commit(void) {}
STUB void sv_typed_trace(struct sv_marker *m, uintptr_t s, size_t n) { (void)m; (void)s; (void)n; }
STUB void sv_link_settle(struct sv_marker *m) { (void)m; }
STUB void sv_toggle_settle(struct sv_marker *m) { (void)m; }
STUB void sv_toggle_hold(struct sv_marker *m) { (void)m; }
STUB void sv_final_settle(struct sv_marker *m) { (void)m; }
STUB void sv_disclaim_settle(struct sv_marker *m) { (void)m; }
STUB void sv_link_commit(void) {}
STUB void sv_final_commit(void) {}
STUB void sv_disclaim_commit(void) {}
STUB void sv_final_hold(struct sv_marker *m) { (void)m; }
STUB void sv_final_poll(void) {}
STUB void sv_disclaim_poll(void) {}
