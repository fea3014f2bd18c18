package yardctl

import "github.com/spf13/cobra"

// brakes are loosened for one command; nil is as the fleet's spec has it.
type brakes struct{ destroy, create *int32 }

const (
	destroyFlag = "max-destroy-percent"
	createFlag  = "max-create"
)

// add adds the flags of both brakes.
func (b *brakes) add(cmd *cobra.Command) {
	b.addDestroy(cmd)
	cmd.Flags().Int32(createFlag, 0, "for this once, let the fleet grow by this many nodes")
}

// addDestroy adds the flag of a command that makes no more nodes.
func (*brakes) addDestroy(cmd *cobra.Command) {
	cmd.Flags().Int32(destroyFlag, 0, "for this once, let this many per cent of the fleet's nodes be destroyed")
}

// read takes in the flags that were given.
func (b *brakes) read(cmd *cobra.Command) brakes {
	for name, into := range map[string]**int32{destroyFlag: &b.destroy, createFlag: &b.create} {
		if value, err := cmd.Flags().GetInt32(name); err == nil && cmd.Flags().Changed(name) {
			*into = &value
		}
	}
	return *b
}
