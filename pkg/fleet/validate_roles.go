package fleet

import (
	"fmt"
	"slices"
	"strings"
)

// missing are the names of the parameters that the role cannot do without
// and that are not known.
func (r *Role) missing(known []string) []string {
	var out []string
	for _, p := range r.Params {
		if p.Required() && !slices.Contains(known, p.Name) {
			out = append(out, p.Name)
		}
	}
	return out
}

// roleParams checks that a layer's role has what it needs in a pool, and
// that what it has looks right.
func (c *checker) roleParams(path string, l Layer, f *Fleet, pool *Pool, poolPath string) {
	role := FindRole(l.Role)
	if role == nil {
		return
	}
	if missing := role.missing(f.known(pool)); len(missing) > 0 {
		c.add(path+".role", "role "+role.Name+" needs "+listed(missing), paramHint(missing))
	}
	for _, p := range role.Params {
		name, isVar := strings.CutPrefix(p.Name, "vars.")
		if !isVar {
			continue
		}
		at, vars := poolPath+".vars", pool.Vars
		if _, own := vars[name]; !own {
			at, vars = "spec.vars", f.Spec.Vars
		}
		value, given := vars[name]
		if given && !p.Form.Fits(value) {
			c.add(field(at, name), fmt.Sprintf("%s is not %s", shown(value), p.Form.Is), "role "+role.Name+" needs it: "+p.Means)
		}
	}
}

// listed joins words: a, b and c.
func listed(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// paramHint says how to give the parameters.
func paramHint(names []string) string {
	var vars, secrets []string
	for _, name := range names {
		if secret, ok := strings.CutPrefix(name, "secrets."); ok {
			secrets = append(secrets, secret+": {file: /run/secrets/"+secret+"}")
		} else {
			vars = append(vars, strings.TrimPrefix(name, "vars.")+": ...")
		}
	}
	var out []string
	if len(vars) > 0 {
		out = append(out, "vars: {"+strings.Join(vars, ", ")+"}")
	}
	if len(secrets) > 0 {
		out = append(out, "secrets: {"+strings.Join(secrets, ", ")+"}")
	}
	return "write " + strings.Join(out, " and ")
}
