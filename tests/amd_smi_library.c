/* A stand-in for libamd_smi.so: two GPUs of an imagined host, in the ABI that amdsmi 7.0 expects.
 *
 * The test adds every other function of the wrapper, which answers NOT_SUPPORTED. HANG makes the
 * initialisation wait, REFUSE makes it fail as in a virtual machine; it always prints, as the real one may. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 2, DRIVER_NOT_LOADED = 43 };
typedef void *handle;

int amdsmi_init(uint64_t flags) {
    (void)flags;
    puts("the library prints to stdout");
    fflush(stdout);
    if (getenv("AMD_SMI_HANG")) sleep(600);
    return getenv("AMD_SMI_REFUSE") ? DRIVER_NOT_LOADED : SUCCESS;
}

int amdsmi_get_socket_handles(uint32_t *count, handle *sockets) {
    *count = 1;
    if (sockets) sockets[0] = (handle)(uintptr_t)100;
    return SUCCESS;
}

int amdsmi_get_processor_handles(handle socket, uint32_t *count, handle *gpus) {
    (void)socket;
    *count = 2;
    if (gpus)
        for (uintptr_t i = 0; i < 2; i++) gpus[i] = (handle)(i + 1);
    return SUCCESS;
}

/* function: 3 bits, device: 5, bus: 8, domain: 48 */
static uint64_t address(handle gpu) { return (uint64_t)(gpu == (handle)1 ? 0x05 : 0x27) << 8; }

int amdsmi_get_gpu_device_bdf(handle gpu, uint64_t *bdf) {
    *bdf = address(gpu);
    return SUCCESS;
}

struct vram_usage { uint32_t total_mib, used_mib, reserved[2]; };
int amdsmi_get_gpu_vram_usage(handle gpu, struct vram_usage *usage) {
    usage->total_mib = 196592;
    usage->used_mib = gpu == (handle)1 ? 65535 : 4294967295u;
    return SUCCESS;
}

struct vram_info { uint32_t type; char vendor[256]; uint32_t padding; uint64_t size; uint32_t width, more; uint64_t gb_s; };
int amdsmi_get_gpu_vram_info(handle gpu, struct vram_info *info) {
    (void)gpu;
    strcpy(info->vendor, "hynix");
    info->gb_s = 5300;
    return SUCCESS;
}

struct engine_usage { uint32_t gfx, umc, mm; };
int amdsmi_get_gpu_activity(handle gpu, struct engine_usage *usage) {
    usage->gfx = 90;
    usage->umc = gpu == (handle)1 ? 62 : 0xFFFF;
    return SUCCESS;
}

struct error_count { uint64_t correctable, uncorrectable, deferred; };
int amdsmi_get_gpu_ecc_count(handle gpu, uint32_t block, struct error_count *errors) {
    if (block != 1) return NOT_SUPPORTED;
    errors->correctable = gpu == (handle)1 ? 11 : 0;
    return SUCCESS;
}

struct page { uint64_t address, size; uint32_t status, padding; };
int amdsmi_get_gpu_bad_page_info(handle gpu, uint32_t *count, struct page *pages) {
    *count = gpu == (handle)1 ? 3 : 0;
    if (pages)
        for (uint32_t i = 0; i < *count; i++) {
            pages[i].size = 4096;
            pages[i].status = i % 2; /* reserved, pending, reserved */
        }
    return SUCCESS;
}

struct power { uint64_t socket; uint32_t current, average; };
int amdsmi_get_power_info(handle gpu, struct power *power) {
    (void)gpu;
    power->current = 0xFFFF;
    power->average = 512;
    return SUCCESS;
}

int amdsmi_get_temp_metric(handle gpu, uint32_t sensor, uint32_t metric, int64_t *celsius) {
    (void)gpu;
    if (metric != 0 || sensor != 1) return NOT_SUPPORTED;
    *celsius = 57;
    return SUCCESS;
}

struct pcie {
    struct { uint16_t width; uint32_t speed, version, slot, most, padding; uint64_t reserved[9]; } fixed;
    struct { uint16_t width; uint32_t speed, bandwidth, padding; uint64_t replays; } metric;
};
int amdsmi_get_pcie_info(handle gpu, struct pcie *info) {
    (void)gpu;
    info->metric.replays = 8;
    return SUCCESS;
}

int amdsmi_topo_get_numa_node_number(handle gpu, uint32_t *node) {
    *node = gpu == (handle)1 ? 1 : 4294967295u;
    return SUCCESS;
}

struct link { uint64_t bdf; uint32_t bit_rate, bandwidth, type, padding; uint64_t read_kb, written_kb, reserved[2]; };
struct links { uint32_t count, padding; struct link links[64]; };
int amdsmi_get_link_metrics(handle gpu, struct links *links) {
    links->count = 1;
    links->links[0].bdf = address(gpu == (handle)1 ? (handle)2 : (handle)1);
    links->links[0].type = 2;
    links->links[0].read_kb = 3;
    links->links[0].written_kb = 5;
    return SUCCESS;
}

int amdsmi_get_gpu_compute_partition(handle gpu, char *text, uint32_t size) {
    (void)gpu;
    snprintf(text, size, "SPX");
    return SUCCESS;
}
