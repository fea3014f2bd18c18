// Command renderer turns render jobs into sealed Ignition configs.
package main

import (
	"yardmaster.dev/pkg/service"
	"yardmaster.dev/services/renderer"
)

func main() {
	service.Main("renderer", service.Process{HealthListen: "127.0.0.1:7072"}, renderer.Config{}, renderer.Run)
}
