#!/usr/bin/env bash
# nix-instantiate: expressions of the kind that nixpkgs is made of: fixed points, overrides, sets.
. "$(dirname "$0")/lib.sh"
need=(nix-bin)
client=/usr/bin/nix-instantiate

job() {
    cat >job.nix <<'NIX'
let
  lib = rec {
    fix = f: let x = f x; in x;
    extends = g: f: final: let prev = f final; in prev // g final prev;
    range = a: b: builtins.genList (i: a + i) (b - a + 1);
    sum = builtins.foldl' (a: b: a + b) 0;
    makeOverridable = f: args: (f args) // { override = new: makeOverridable f (args // new); };
  };
  mkPackage = lib.makeOverridable ({ name, version ? "1.0", deps ? [ ] }: {
    inherit name version;
    full = "${name}-${version}";
    closure = builtins.concatMap (d: [ d.full ] ++ d.closure) deps;
  });
  packages = self: builtins.listToAttrs (map (i: {
    name = "p${toString i}";
    value = mkPackage {
      name = "p${toString i}";
      deps = if i < 2 then [ ] else [ self."p${toString (i / 2)}" self."p${toString (i - 1 - i / 3)}" ];
    };
  }) (lib.range 0 200));
  overlay = final: prev: { p3 = prev.p3.override { version = "2.0"; }; };
  all = lib.fix (lib.extends overlay packages);
  fib = n: if n < 2 then n else fib (n - 1) + fib (n - 2);
in {
  lengths = lib.sum (map (n: builtins.length all.${n}.closure) (builtins.attrNames all));
  version = builtins.head (builtins.filter (s: builtins.match "p3-.*" s != null) all.p12.closure);
  fib = fib 20;
  json = builtins.hashString "sha256" (builtins.toJSON (map (i: { inherit i; s = toString i; }) (lib.range 0 5000)));
  sorted = builtins.elemAt (builtins.sort builtins.lessThan (map (i: i * 7919 - i / 13 * 1000) (lib.range 0 5000))) 77;
  back = (builtins.fromJSON (builtins.toJSON { a = [ 1 2 { b = null; } ]; })).a;
  text = builtins.stringLength (builtins.concatStringsSep "\n" (map toString (lib.range 0 20000)));
  caught = builtins.tryEval (throw "no");
}
NIX
    export NIX_STORE_DIR=$WORK/store NIX_STATE_DIR=$WORK/var NIX_LOG_DIR=$WORK/log NIX_REMOTE=
    export NIX_CONF_DIR=$WORK/conf NIX_LOCALSTATE_DIR=$WORK/var
    under nix-instantiate --eval --strict --json job.nix
    under nix-instantiate --eval --strict -E 'builtins.genList (x: x * x) 300'
    under nix-instantiate --parse -E 'let a = { b ? 1, ... }@c: c // { inherit b; }; in a { }'
    under nix-instantiate --eval --strict -E '1 + "a"' || :
}

program_run "$@"
