package yardctl

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"yardmaster.dev/pkg/fleet"
	"yardmaster.dev/pkg/render"
)

func (a *app) rolesCommand() *cobra.Command {
	return &cobra.Command{
		Use: "roles [NAME]", GroupID: groupSpec, Short: "List the shipped config layers, or show one",
		Long: `roles lists the config layers that come with Yardmaster: write "- role: NAME"
in a fleet's or a pool's config. With a name it shows what the role gives a
node, which vars and secrets it takes, and its Butane. It needs no yard.`,
		Example: `  yardctl roles
  yardctl roles k3s-agent`,
		Args:              arguments(cobra.MaximumNArgs(1)),
		ValidArgsFunction: cobra.FixedCompletions(fleet.RoleNames(), cobra.ShellCompDirectiveNoFileComp),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.listRoles()
			}
			role := fleet.FindRole(args[0])
			if role == nil {
				hint := "the roles are " + strings.Join(fleet.RoleNames(), ", ")
				if near := fleet.Nearest(args[0], fleet.RoleNames()); near != "" {
					hint = fmt.Sprintf("did you mean %q?", near)
				}
				return wrongInput(fmt.Errorf("there is no role %q; %s", args[0], hint))
			}
			return a.showRole(role)
		},
	}
}

// shownRole is a role for machines.
type shownRole struct {
	Name   string       `json:"name"`
	Does   string       `json:"does"`
	Notes  string       `json:"notes"`
	Params []shownParam `json:"params"`
	Butane []string     `json:"butane,omitempty"`
}

type shownParam struct {
	Name     string `json:"name"`
	Means    string `json:"means"`
	MustBe   string `json:"mustBe"`
	Default  string `json:"default"`
	Required bool   `json:"required"`
}

func roleForMachines(r *fleet.Role) shownRole {
	out := shownRole{Name: r.Name, Does: r.Does, Notes: r.Notes, Params: []shownParam{}}
	for _, p := range r.Params {
		out.Params = append(out.Params, shownParam{Name: p.Name, Means: p.Means, MustBe: p.Form.Is, Default: p.Default, Required: p.Required()})
	}
	return out
}

func (a *app) emitPlain(v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return a.emitJSON(body)
}

func (a *app) listRoles() error {
	if a.machine() {
		out := []shownRole{}
		for i := range fleet.Roles {
			out = append(out, roleForMachines(&fleet.Roles[i]))
		}
		return a.emitPlain(map[string]any{"roles": out})
	}
	g := grid{header: []string{"role", "needs", "gives the node"}}
	for _, r := range fleet.Roles {
		var needs []string
		for _, p := range r.Params {
			if p.Required() {
				needs = append(needs, p.Name)
			}
		}
		if len(needs) == 0 {
			needs = []string{"-"}
		}
		// One need a line: names are long, screens are not.
		for i, need := range needs {
			name, does := r.Name, r.Does
			if i > 0 {
				name, does = "", ""
			}
			g.rows = append(g.rows, []string{name, need, does})
		}
	}
	a.grid(g, "")
	a.say("")
	a.say("see    yardctl roles NAME shows its parameters and its Butane")
	return nil
}

func (a *app) showRole(r *fleet.Role) error {
	texts := roleTexts(r)
	if a.machine() {
		out := roleForMachines(r)
		out.Butane = texts
		return a.emitPlain(out)
	}
	a.say("%s", r.Name)
	a.say("  gives        %s", r.Does)
	if r.Notes != "" {
		a.say("  note         %s", r.Notes)
	}
	for _, p := range r.Params {
		what := "default " + p.Default
		switch {
		case p.Required():
			what = "required"
		case p.Optional:
			what = "may be left out"
		}
		a.say("")
		a.say("  %s (%s)", p.Name, what)
		a.say("    %s", p.Means)
		a.say("    must be %s", p.Form.Is)
	}
	for _, text := range texts {
		a.say("")
		a.say("# Butane of role %s", r.Name)
		a.say("%s", strings.TrimRight(text, "\n"))
	}
	return nil
}

// roleTexts are all parts of a role, also those that only some vars bring.
func roleTexts(r *fleet.Role) []string {
	pool := fleet.Pool{Vars: map[string]string{fleet.VarDockerPool: "10.200.0.0/16", fleet.VarDockerComposeUpdates: "on"}}
	f := &fleet.Fleet{Spec: fleet.FleetSpec{OS: fleet.OS{Updates: &fleet.Updates{Coordinator: fleet.CoordinatorKured}}}}
	return render.RoleText(f, &pool, r)
}
