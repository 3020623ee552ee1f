#!/usr/bin/env bash
# fauhdlc: a VHDL design compiled to the intermediate code.
. "$(dirname "$0")/lib.sh"
need=(fauhdlc)
client=/usr/bin/fauhdlc

job() {
    {
        for i in $(seq 1 40); do
            cat <<VHDL
entity e$i is
    port (signal a : in bit; signal b : in bit; signal q : out bit);
end e$i;
architecture rtl of e$i is
    signal s : bit;
    type state is (one, two, three);
    signal st : state;
begin
    s <= a and not b;
    process (s, a)
        variable n : integer := $i;
    begin
        if s = '1' then
            n := n + 1;
            st <= two;
        elsif n > 10 then
            st <= three;
        else
            for k in 0 to 7 loop
                n := n * 2 - k;
            end loop;
        end if;
        q <= s xor b;
    end process;
end rtl;
VHDL
        done
    } >design.vhd
    under fauhdlc -o design.out design.vhd
    # drivers come in the order of where they lie in memory
    sed 's/_[0-9]*\b//g' design.out | sort | sha256sum
    wc -l design.out
    under fauhdlc -o bad.out /dev/null || :
}

program_run "$@"
