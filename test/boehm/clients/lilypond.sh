#!/usr/bin/env bash
# lilypond: a score to PDF, to SVG and to MIDI.
. "$(dirname "$0")/lib.sh"
need=(lilypond ghostscript)
client=/usr/bin/lilypond
opts=stress=8192,checkmark=1,clobber=1
limit=600

job() {
    cat >job.ly <<'LY'
\version "2.24.0"
\header { title = "A score" tagline = ##f }
melody = \relative c' { \key d \major \time 4/4 d4 e fis g a8 b cis d e4 r | <d fis a>2\f d,4-. e\trill | \repeat unfold 8 { d8( e fis g) a4 b-> } \bar "|." }
bass = \relative c { \clef bass \key d \major d2 a' d, a' \repeat unfold 8 { d,4 a' fis e } }
\score { \new PianoStaff << \new Staff \melody \new Staff \bass >> \layout { } \midi { } }
\markup { \column { "text" \bold "bold" \italic "italic" } }
LY
    export GUILE_AUTO_COMPILE=0
    under lilypond --loglevel=WARN --svg -dno-point-and-click job.ly
    sha256sum job.svg job.midi
    under lilypond --loglevel=WARN --pdf -dno-point-and-click job.ly
    gs -q -sDEVICE=txtwrite -o - job.pdf | sha256sum
    gs -q -sDEVICE=pnggray -r60 -o page.png job.pdf
    sha256sum page.png
}

program_run "$@"
