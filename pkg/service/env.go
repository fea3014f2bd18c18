package service

import "os"

// LookupEnv reads a variable of the process's environment, for services that
// refer to one by a name they are given at run time.
func LookupEnv(name string) (string, bool) { return os.LookupEnv(name) }
