variable "roles" {
  type        = string
  default     = "worker"
  description = "What the image is for: worker, manager, or both with a space between."
}

variable "release" {
  type        = string
  default     = "0-1-0"
  description = "Of poolmgr: part of the image's name."
}

variable "bundle" {
  type        = string
  default     = "build/packer/bundle.tar"
  description = "What packer/bundle made."
}

variable "chromium_version" {
  type        = string
  default     = ""
  description = "As apt-cache policy chromium shows it; empty: the newest of this Debian."
}

variable "warm_pages" {
  type        = string
  default     = "[\"https://meet.google.com/\", \"https://app.zoom.us/wc/join\", \"https://teams.live.com/\"]"
  description = "A TOML array for worker.warm_pages; empty: none."
}

# Amazon

variable "aws_region" {
  type    = string
  default = "eu-central-1"
}

variable "aws_instance_type" {
  type    = string
  default = "c6i.large"
}

variable "aws_base_owner" {
  type        = string
  default     = "136693071363"
  description = "Whose images to begin with: Debian's account."
}

variable "aws_base_name" {
  type        = string
  default     = "debian-12-amd64-*"
  description = "The newest of this name; name one whole to pin it."
}

# Google

variable "google_project" {
  type    = string
  default = "set-google-project"
}

variable "google_zone" {
  type    = string
  default = "europe-west3-a"
}

variable "google_machine_type" {
  type    = string
  default = "e2-standard-2"
}

variable "google_base_family" {
  type        = string
  default     = "debian-12"
  description = "The newest of this family; google_base_image pins one."
}

variable "google_base_image" {
  type    = string
  default = ""
}

# qemu, of what packer/make_disk made

variable "disk_folder" {
  type    = string
  default = "build/packer/disk"
}

variable "ssh_key" {
  type        = string
  default     = ""
  description = "The private key whose public one make_disk was given."
}

variable "accelerator" {
  type        = string
  default     = "kvm"
  description = "tcg where /dev/kvm is missing."
}

# null

variable "tree" {
  type        = string
  default     = ""
  description = "A Debian as a folder."
}
