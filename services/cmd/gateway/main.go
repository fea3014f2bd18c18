// Command gateway is the front door: API, watches and phone-home.
package main

import (
	"yardmaster.dev/pkg/service"
	"yardmaster.dev/services/gateway"
)

func main() {
	service.Main("gateway", service.Process{HealthListen: "127.0.0.1:7074"}, gateway.Config{}, gateway.Run)
}
