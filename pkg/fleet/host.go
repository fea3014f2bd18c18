package fleet

// NeedsVCenter returns what of the section of a fleet's pool a lone host, an
// ESXi without a vCenter, does not have, by the names of the fields. The folder
// that a pool has by default is no wish.
func (v *VSphere) NeedsVCenter(fleet string) []string {
	var out []string
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"cluster", v.Cluster != ""},
		{"datastoreCluster", v.DatastoreCluster != ""},
		{"folder", v.Folder != "" && v.Folder != fleet},
		{"tags", len(v.Tags) > 0},
		{"customAttributes", len(v.CustomAttributes) > 0},
		{"clone", v.Clone == CloneLinked},
	} {
		if f.set {
			out = append(out, f.name)
		}
	}
	return out
}
