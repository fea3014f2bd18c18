// Command planner decides: it turns commands and results into state and jobs.
package main

import (
	"yardmaster.dev/pkg/service"
	"yardmaster.dev/services/planner"
)

func main() {
	service.Main("planner", service.Process{HealthListen: "127.0.0.1:7071"}, planner.Config{}, planner.Run)
}
