#!/usr/bin/env bash
# guile 2.2: see guile.sh.
guile=guile-2.2
. "$(dirname "$0")/guile.sh"
