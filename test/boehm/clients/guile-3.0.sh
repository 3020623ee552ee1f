#!/usr/bin/env bash
# guile 3.0: see guile.sh.
guile=guile-3.0
. "$(dirname "$0")/guile.sh"
