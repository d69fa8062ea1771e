# What a release is made of, as CycloneDX: the crates that are compiled into the program or run while
# it is built, and what comes from the system. Input: `cargo metadata`, which knows licences but also
# crates that only tests use. $tree: `cargo tree` without those. $lock: Cargo.lock, for checksums.
# $system: more components. $date: that of the release.

def checksums: $lock | split("\n[[package]]\n")[1:]
    | map(capture("name = \"(?<name>.+)\"\nversion = \"(?<version>.+)\"\n(.*\n)*checksum = \"(?<sum>.+)\""))
    | INDEX(.name + " v" + .version);

def name: .name + " v" + .version;

($tree | split("\n") | map(sub(" \\(.*"; "") | {(.): true}) | add) as $compiled
| (.packages | map(select($compiled[name]))) as $crates
| ($crates | INDEX(.id)) as $by_id
| .resolve as $resolve
| checksums as $checksums
| def ref: "pkg:cargo/\(.name)@\(.version | @uri)";
  # Old crates write a slash for "or".
  def component: {
      type: "library", "bom-ref": ref, purl: ref, name, version,
      hashes: [$checksums[name] | values | {alg: "SHA-256", content: .sum}],
      licenses: [{expression: .license | gsub(" ?/ ?"; " OR ")}]
  };
  def wants: map(select(any(.dep_kinds[]; .kind != "dev")) | $by_id[.pkg] | values | ref) | sort;
  {
      bomFormat: "CycloneDX", specVersion: "1.5", version: 1,
      metadata: {
          timestamp: $date,
          component: ($by_id[$resolve.root] | component | .type = "application" | del(.hashes))
      },
      components: (($crates | map(select(.id != $resolve.root) | component) | sort_by(.purl)) + $system),
      dependencies: ([$resolve.nodes[] | select($by_id[.id]) | .id as $id | .deps | {
          ref: ($by_id[$id] | ref),
          dependsOn: (wants + if $id == $resolve.root then $system | map(.["bom-ref"]) else [] end)
      }] | sort_by(.ref))
  }
