package render

import (
	"embed"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"yardmaster.dev/pkg/fleet"
)

//go:embed roles/*.bu
var roleFiles embed.FS

// roleParts says which files a role is made of where it is not the one of
// its name.
var roleParts = map[string]func(f *fleet.Fleet, p *fleet.Pool) []string{
	fleet.RoleBase: func(f *fleet.Fleet, _ *fleet.Pool) []string {
		parts := []string{"base"}
		if f.Spec.OS.Version != "" || f.Spec.OS.Updates != nil {
			parts = append(parts, "base-updates")
		}
		if f.Spec.OS.Updates != nil && f.Spec.OS.Updates.Coordinator != "" {
			parts = append(parts, "base-coordinator")
		}
		return parts
	},
	fleet.RoleStaticNet: func(_ *fleet.Fleet, p *fleet.Pool) []string {
		var parts []string
		for card := range max(1, fleet.CardCount(p.Networks)) {
			parts = append(parts, staticNet+strconv.Itoa(card))
		}
		return parts
	},
	fleet.RoleDocker: func(f *fleet.Fleet, p *fleet.Pool) []string {
		if varsOf(f, p)[fleet.VarDockerPool] != "" {
			return []string{"docker", "docker-pool"}
		}
		return []string{"docker"}
	},
	fleet.RoleDockerCompose: func(f *fleet.Fleet, p *fleet.Pool) []string {
		if varsOf(f, p)[fleet.VarDockerComposeUpdates] == "on" {
			return []string{"docker-compose", "docker-compose-updates"}
		}
		return []string{"docker-compose"}
	},
	fleet.RoleSwarmWorker: func(*fleet.Fleet, *fleet.Pool) []string { return []string{"docker", "swarm-worker"} },
}

// varsOf are the vars of a pool: the fleet's, and over them its own.
func varsOf(f *fleet.Fleet, pool *fleet.Pool) map[string]string {
	vars := map[string]string{}
	maps.Copy(vars, f.Spec.Vars)
	maps.Copy(vars, pool.Vars)
	return vars
}

// RoleText is the Butane of a role as a pool with these vars gets it, one
// document for each of its parts.
func RoleText(f *fleet.Fleet, pool *fleet.Pool, role *fleet.Role) []string {
	files := []string{role.Name}
	if parts, ok := roleParts[role.Name]; ok {
		files = parts(f, pool)
	}
	out := make([]string, 0, len(files))
	for _, file := range files {
		out = append(out, roleText(file))
	}
	return out
}

// staticNet begins the names of the parts of static-net, which differ in the
// number of their network card alone.
const staticNet = "static-net-"

// roleText is the Butane of one part of a role.
func roleText(file string) string {
	card, isCard := strings.CutPrefix(file, staticNet)
	if isCard {
		file = fleet.RoleStaticNet
	}
	text, err := roleFiles.ReadFile("roles/" + file + ".bu")
	if err != nil {
		panic(err) // the table names a file that is not embedded: the first test shows it
	}
	if !isCard {
		return string(text)
	}
	return strings.ReplaceAll(string(text), "CARD", card)
}

func readRole(f *fleet.Fleet, pool *fleet.Pool, path, name string) ([]layer, []fleet.Problem) {
	role := fleet.FindRole(name)
	if role == nil {
		hint := "the roles are " + strings.Join(fleet.RoleNames(), ", ")
		if near := fleet.Nearest(name, fleet.RoleNames()); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		return nil, []fleet.Problem{{Path: path + ".role", Message: fmt.Sprintf("there is no role %q", name), Hint: hint}}
	}
	var out []layer
	for _, text := range RoleText(f, pool, role) {
		b, wrong := readButane(text)
		if len(wrong) > 0 {
			return nil, place(path+".role", wrong)
		}
		out = append(out, layer{path: path + ".role", label: "role " + name, role: role, body: b})
	}
	return out, nil
}

// updateLines are what spec.os says in the terms of update.conf, each with
// its line end. A pinned release without updates is replaced, not updated.
func updateLines(os fleet.OS) string {
	u := os.Updates
	if u == nil {
		return "SERVER=disabled\n"
	}
	var b strings.Builder
	line := func(key, value string) {
		if value != "" {
			b.WriteString(key + "=" + value + "\n")
		}
	}
	line("GROUP", u.Group)
	line("SERVER", u.Server)
	line("REBOOT_STRATEGY", u.Reboot)
	if w := u.Window; w != nil {
		line("LOCKSMITHD_REBOOT_WINDOW_START", `"`+w.Start+`"`)
		line("LOCKSMITHD_REBOOT_WINDOW_LENGTH", w.Length.String())
	}
	return b.String()
}
