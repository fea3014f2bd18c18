package service

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// PortOwner names the process that listens on addr's TCP port, as "name
// (pid 123)", or is empty when that cannot be found out: on other systems
// than Linux, or when the process belongs to another user.
func PortOwner(addr string) string {
	_, text, err := net.SplitHostPort(addr)
	if err != nil {
		return ""
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return ""
	}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		if inode := listeningInode(table, port); inode != "" {
			return inodeOwner(inode)
		}
	}
	return ""
}

// listeningInode finds the socket in state LISTEN (0A) on port; the columns
// are those of proc_pid_net(5).
func listeningInode(table string, port uint64) string {
	f, err := os.Open(table)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	want := fmt.Sprintf(":%04X", port)
	for s := bufio.NewScanner(f); s.Scan(); {
		col := strings.Fields(s.Text())
		if len(col) > 9 && strings.HasSuffix(col[1], want) && col[3] == "0A" {
			return col[9]
		}
	}
	return ""
}

func inodeOwner(inode string) string {
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return ""
	}
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil || target != "socket:["+inode+"]" {
			continue
		}
		pid := strings.Split(link, "/")[2]
		name, err := os.ReadFile(filepath.Join("/proc", pid, "comm"))
		if err != nil {
			return "pid " + pid
		}
		return fmt.Sprintf("%s (pid %s)", bytes.TrimSpace(name), pid)
	}
	return ""
}
