// Command govc is VMware's own command line, with the vm commands only; the
// benchmark runs it in a loop as an operator's script would.
package main

import (
	"os"

	"github.com/vmware/govmomi/cli"
	_ "github.com/vmware/govmomi/cli/vm" // registers vm.clone, vm.change, vm.power
)

func main() { os.Exit(cli.Run(os.Args[1:])) } //nolint:forbidigo // a program of the tests
