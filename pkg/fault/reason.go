package fault

// Reason is a word from a short, closed list: a metric label, a column of
// yardctl failed and a heading in a runbook.
type Reason string

// The reasons. A new one needs a row in [Reasons] and a heading in
// docs/runbooks/reasons.md.
const (
	Unknown           Reason = "unknown"
	Stopped           Reason = "stopped"
	Timeout           Reason = "timeout"
	ConfigRefused     Reason = "config_refused"
	ConfigTooLarge    Reason = "config_too_large"
	ConfigMissing     Reason = "config_missing"
	SecretMissing     Reason = "secret_missing"
	NameTaken         Reason = "name_taken"
	NoSpace           Reason = "no_space"
	NoResources       Reason = "no_resources"
	NoAddress         Reason = "no_address"
	AddressTaken      Reason = "address_taken"
	NotFound          Reason = "not_found"
	TemplateMissing   Reason = "template_missing"
	ImageImporting    Reason = "image_importing"
	ImageMissing      Reason = "image_missing"
	ImageUnreachable  Reason = "image_unreachable"
	ImageUntrusted    Reason = "image_untrusted"
	UploadWaiting     Reason = "upload_waiting"
	PermissionDenied  Reason = "permission_denied"
	LoginRefused      Reason = "login_refused"
	BackendDown       Reason = "backend_down"
	BackendBusy       Reason = "backend_busy"
	MachineBusy       Reason = "machine_busy"
	MachineLost       Reason = "machine_lost"
	BootTimeout       Reason = "boot_timeout"
	RerunTimeout      Reason = "rerun_timeout"
	WrongAddress      Reason = "wrong_address"
	SpecUnsupported   Reason = "spec_unsupported"
	HotRefused        Reason = "hot_refused"
	AttemptsExhausted Reason = "attempts_exhausted"
	CalledBack        Reason = "called_back"
	Poison            Reason = "poison"
)

// Reasons is every reason with what it means in one line, in the order of
// the runbook.
var Reasons = []struct {
	Reason Reason
	Means  string
}{
	{Unknown, "an error that no table knows; its text is all there is"},
	{Stopped, "the worker was told to stop; the job goes to another"},
	{Timeout, "a call or a stage took longer than its deadline"},
	{ConfigRefused, "the node's config cannot be rendered or was refused by Ignition"},
	{ConfigTooLarge, "the encoded config is larger than guestinfo can carry"},
	{ConfigMissing, "the sealed config expired before it was used; it is rendered again"},
	{SecretMissing, "a secret that the fleet refers to cannot be read by the renderer"},
	{NameTaken, "a VM of that name exists and is not ours"},
	{NoSpace, "the datastore is full"},
	{NoResources, "no host has the CPU or memory"},
	{NoAddress, "the Network has no free address"},
	{AddressTaken, "somebody else uses the node's address; it gets another one"},
	{NotFound, "an object that the fleet names does not exist in vCenter"},
	{TemplateMissing, "the template that the pool names does not exist"},
	{ImageImporting, "the pool's image is being imported first"},
	{ImageMissing, "the image to import is not where it should be"},
	{ImageUnreachable, "the image to import cannot be fetched at the moment"},
	{ImageUntrusted, "the image's signature or digest is not what it must be"},
	{UploadWaiting, "the disks of other machines are on their way to the host; its turn comes"},
	{PermissionDenied, "the vCenter account lacks a privilege"},
	{LoginRefused, "vCenter refuses the login; logins stop so that no account is locked"},
	{BackendDown, "vCenter does not answer"},
	{BackendBusy, "vCenter asks for patience"},
	{MachineBusy, "another operation holds the VM"},
	{MachineLost, "the VM vanished or was changed behind our back"},
	{BootTimeout, "the machine was powered on and never reported"},
	{RerunTimeout, "the machine was to run another config and did not report it"},
	{WrongAddress, "the guest reports another address than the one it was given"},
	{SpecUnsupported, "the backend cannot do what the fleet asks for"},
	{HotRefused, "a running VM does not take the change; it is made with a restart"},
	{AttemptsExhausted, "every attempt was used up"},
	{CalledBack, "a person called the work back (yardctl cancel)"},
	{Poison, "an input that no planner could decide on"},
}
