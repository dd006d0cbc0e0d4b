/** How many files and connections this process may have open; infinite where the system sets no limit or tells none. */
export function openFilesLimit(): number {
  // Without it each peer's name is asked for, which may take seconds. The types do not know it yet.
  const source = process.report as NodeJS.ProcessReport & { excludeNetwork?: boolean };
  source.excludeNetwork = true;
  const report = source.getReport() as { userLimits?: { open_files?: { soft?: unknown } } };
  const limit = Number(report.userLimits?.open_files?.soft);
  return Number.isFinite(limit) ? limit : Number.POSITIVE_INFINITY;
}
