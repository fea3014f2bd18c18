// Command yardmaster runs a whole yard in one process, the simulated world,
// and the set-up of a bus.
package main

import (
	"os"

	"yardmaster.dev/services/yardmaster"
)

func main() {
	os.Exit(yardmaster.Execute(os.Args[1:]))
}
