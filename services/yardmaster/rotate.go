package yardmaster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"yardmaster.dev/pkg/bus"
)

// errWhichKeys is a rotation of nothing.
var errWhichKeys = errors.New("name the keys, or say --all")

// rotation is which keys to change and how.
type rotation struct {
	*busOptions
	all, finish bool
}

func (o *busOptions) rotateCommand() *cobra.Command {
	r := &rotation{busOptions: o}
	cmd := &cobra.Command{
		Use:   "rotate [NAME...]",
		Short: "Change keys without stopping anything",
		Long: `Change the keys of bus users and of sites without stopping anything. A name is
that of a key's file without its ending: planner, vsphere-dc1, seal-dc1.

  1. yardmaster bus rotate planner
     puts a new key before the old one into the key's file; both are good
  2. yardmaster bus config ... > nats.conf, and reload every server with it;
     hand the file to the service; both in any order. The service changes over
     by itself and logs "bus key taken up". (A seal key is not the server's
     business: hand the file to every executor of the site, which then logs
     "seal key announced".)
  3. yardmaster bus rotate planner --finish
     drops the old key; then step 2 once more`,
		Example: "  yardmaster bus rotate --dir bus gateway renderer\n  yardmaster bus rotate --dir bus --all --finish",
		RunE: func(cmd *cobra.Command, names []string) error {
			files, err := r.files(names)
			if err != nil {
				return err
			}
			for _, file := range files {
				did, err := r.change(file)
				if err == nil {
					_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", file, did)
				}
				if err != nil {
					return err
				}
			}
			return sayNext(cmd, files)
		},
	}
	cmd.Flags().BoolVar(&r.all, "all", false, "every key in the folder")
	cmd.Flags().BoolVar(&r.finish, "finish", false, "drop the old keys")
	return cmd
}

// change changes a file and says what it did.
func (r *rotation) change(file string) (string, error) {
	if r.finish {
		return "holds its own key only", bus.Finish(file)
	}
	return "holds a new key; the old one is still good", bus.Rotate(file)
}

// sayNext says what to do with the changed files.
func sayNext(cmd *cobra.Command, files []string) error {
	words := "next: hand the files to their services"
	if slices.ContainsFunc(files, func(f string) bool { return strings.HasSuffix(f, ".nk") }) {
		words = "next: print the server's configuration (yardmaster bus config), reload every server with it, and hand the files to their services"
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), words)
	return err
}

// files are those of the named keys.
func (r *rotation) files(names []string) ([]string, error) {
	users, err := filepath.Glob(filepath.Join(r.dir, "users", "*.nk"))
	if err != nil {
		return nil, err
	}
	seals, err := filepath.Glob(filepath.Join(r.dir, "users", "seal-*.xk"))
	if err != nil {
		return nil, err
	}
	known := map[string]string{}
	var sorted []string
	for _, file := range append(users, seals...) {
		name := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(file), ".nk"), ".xk")
		known[name] = file
		sorted = append(sorted, name)
	}
	if len(known) == 0 {
		return nil, fmt.Errorf("no keys in %s: %w; --dir names the folder that yardmaster bus config filled", filepath.Join(r.dir, "users"), os.ErrNotExist)
	}
	if len(names) == 0 && !r.all {
		return nil, fmt.Errorf("%w: %s", errWhichKeys, strings.Join(sorted, " "))
	}
	if r.all {
		names = sorted
	}
	var out []string
	for _, name := range names {
		file, ok := known[name]
		if !ok {
			return nil, fmt.Errorf("no key %q in %s; there are %s", name, filepath.Join(r.dir, "users"), strings.Join(sorted, " "))
		}
		out = append(out, file)
	}
	return out, nil
}
