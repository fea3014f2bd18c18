// Command vsphere-executor makes, watches and removes the VMs of one vCenter.
package main

import (
	"yardmaster.dev/pkg/service"
	executor "yardmaster.dev/services/vsphere-executor"
)

func main() {
	service.Main("vsphere-executor", service.Process{HealthListen: "127.0.0.1:7073"}, executor.Config{}, executor.Run)
}
