#!/usr/bin/env bash
# gs: a PostScript page with text, curves, patterns and a procedure-heavy part to gray, colour and
# PDF, the PDF read back, two rendering threads with a banded page, and an error.
. "$(dirname "$0")/lib.sh"
need=(ghostscript)

job() {
    cat >job.ps <<'PS'
%!PS
/Times-Roman findfont 20 scalefont setfont
2 {
    /y 700 def
    1 1 20 { 72 y moveto (Line of text ) show 10 string cvs show /y y 30 sub def } for
    0 1 200 { /i exch def
        i 255 div 0.3 1 i 255 div sub setrgbcolor
        newpath 100 i 2 mul add 100 i add 10 i 10 div add 0 360 arc stroke
    } for
    /d 500 dict def
    0 1 2000 { dup 20 string cvs cvn exch d 3 1 roll put } for
    << /PatternType 1 /PaintType 1 /TilingType 1 /BBox [0 0 10 10] /XStep 10 /YStep 10
       /PaintProc { pop 0 0 5 5 rectfill } >> matrix makepattern setpattern
    300 400 150 150 rectfill
    gsave 0 setgray 200 200 translate
    0 12 348 { pop 12 rotate 0 0 moveto 0 100 50 50 100 0 curveto stroke } for
    grestore
    << /ShadingType 2 /ColorSpace /DeviceRGB /Coords [50 50 500 50]
       /Function << /FunctionType 2 /Domain [0 1] /C0 [1 0 0] /C1 [0 0 1] /N 1 >> >> shfill
    showpage
} repeat
(strings ) print 1 1 200 { array length pop } for 2000 { 100 string pop } repeat vmreclaim_test
PS
    sed -i 's/ vmreclaim_test$/ 2 vmreclaim (done\\n) print/' job.ps
    under gs -q -dNOPAUSE -dBATCH -dSAFER -sDEVICE=pgmraw -r72 -sOutputFile=gray%d.pgm job.ps
    under gs -q -dNOPAUSE -dBATCH -dSAFER -sDEVICE=ppmraw -r100 -dMaxBitmap=100000 \
        -dNumRenderingThreads=2 -dTextAlphaBits=4 -sOutputFile=colour%d.ppm job.ps
    sha256sum gray*.pgm colour*.ppm
    under gs -q -dNOPAUSE -dBATCH -dSAFER -sDEVICE=pdfwrite -sOutputFile=job.pdf job.ps
    under gs -q -dNOPAUSE -dBATCH -dSAFER -sDEVICE=pgmraw -r50 -sOutputFile=again%d.pgm job.pdf
    sha256sum again*.pgm
    under gs -q -dNOPAUSE -dBATCH -dSAFER -sDEVICE=txtwrite -sOutputFile=- job.pdf | head -n 12
    echo '1 0 div' >wrong.ps
    under gs -q -dNOPAUSE -dBATCH -dSAFER -sDEVICE=nullpage wrong.ps || :
}

program_run "$@"
