package plan

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"
)

// uuid5 is the name-based UUID (RFC 9562, section 5.5) of name in the
// namespace of another UUID.
func uuid5(namespace, name string) string {
	h := sha1.New()
	h.Write(uuidBytes(namespace))
	h.Write([]byte(name))
	u := h.Sum(nil)[:16]
	u[6] = u[6]&0x0f | 0x50
	u[8] = u[8]&0x3f | 0x80
	return formatUUID(u)
}

func formatUUID(u []byte) string {
	var b [36]byte
	hex.Encode(b[:8], u[:4])
	hex.Encode(b[9:13], u[4:6])
	hex.Encode(b[14:18], u[6:8])
	hex.Encode(b[19:23], u[8:10])
	hex.Encode(b[24:], u[10:16])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

// uuidBytes reads a UUID; any other text stands for itself.
func uuidBytes(s string) []byte {
	if len(s) == 36 {
		if b, err := hex.DecodeString(s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:]); err == nil {
			return b
		}
	}
	return []byte(s)
}

// FleetUID is the UID of the fleet that the command creates: the same
// command, decided again, makes the same fleet.
func FleetUID(yardUID, fleet, commandID string) string {
	return uuid5(yardUID, "fleet/"+fleet+"/"+commandID)
}

// MachineUUID is the instance UUID of one incarnation of a node.
func MachineUUID(yardUID, fleetUID, key string, incarnation int) string {
	return uuid5(yardUID, fleetUID+"/"+key+"/"+strconv.Itoa(incarnation))
}

// MAC is the locally administered hardware address that goes with a machine.
func MAC(machineUUID string) string {
	sum := sha256.Sum256([]byte(machineUUID))
	return fmt.Sprintf("02:%02x:%02x:%02x:%02x:%02x", sum[0], sum[1], sum[2], sum[3], sum[4])
}

// CardMAC is the address of a machine's network card of that number, from the
// one of its first card.
func CardMAC(first string, card int) string {
	if card == 0 {
		return first
	}
	return MAC(first + "/" + strconv.Itoa(card))
}

// traceparent is the W3C trace of one incarnation's provisioning.
func traceparent(machineUUID string) string {
	sum := sha256.Sum256([]byte("trace/" + machineUUID))
	return "00-" + hex.EncodeToString(sum[:16]) + "-" + hex.EncodeToString(sum[16:24]) + "-01"
}

// jitter spreads a wait over 80 to 120 per cent, by a hash of what waits: a
// thousand nodes that failed together must not return together, and two
// planners must decide alike.
func jitter(wait time.Duration, n *Node) time.Duration {
	sum := sha256.Sum256([]byte(n.FleetUID + "/" + n.Key() + "/" + strconv.FormatInt(n.Event, 10)))
	fraction := float64(binary.BigEndian.Uint32(sum[:4])) / (1 << 32)
	return time.Duration(float64(wait) * (0.8 + 0.4*fraction)).Round(time.Millisecond)
}
