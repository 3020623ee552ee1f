#!/usr/bin/env bash
# inkscape: an SVG picture with a gradient, a blur and text to PNG, and to plain SVG.
. "$(dirname "$0")/lib.sh"
need=(inkscape)
client=/usr/bin/inkscape
limit=600

job() {
    cat >job.svg <<'SVG'
<svg xmlns="http://www.w3.org/2000/svg" width="300" height="200">
<defs>
<linearGradient id="g">
<stop offset="0" stop-color="red"/>
<stop offset="1" stop-color="blue"/>
</linearGradient>
<filter id="f">
<feGaussianBlur stdDeviation="3"/>
</filter>
</defs>
<rect width="300" height="200" fill="url(#g)"/>
<circle cx="100" cy="100" r="60" fill="green" opacity=".5" filter="url(#f)"/>
<path d="M10 10 C 50 200, 200 0, 290 190" stroke="black" fill="none" stroke-width="4"/>
<text x="50" y="150" font-size="30">Text</text>
</svg>
SVG
    under inkscape --export-type=png --export-filename=job.png job.svg 2>/dev/null
    sha256sum job.png
    under inkscape --export-plain-svg --export-filename=plain.svg job.svg 2>/dev/null
    sha256sum plain.svg
    under inkscape --query-all job.svg 2>/dev/null
}

program_run "$@"
