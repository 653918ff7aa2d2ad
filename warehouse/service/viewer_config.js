// Settings of the OHIF viewer: its DICOMweb is that of this server, of the day, snapshot, group or cohort in its address.
(() => {
  const prefix = window.location.pathname.replace(/\/ohif(\/.*)?$/, '');
  const root = `${window.location.origin}${prefix}/dicomweb`;
  window.config = {
    routerBasename: `${prefix}/ohif`,
    extensions: [],
    modes: [],
    showStudyList: true,
    investigationalUseDialog: { option: 'never' },
    showWarningMessageForCrossOrigin: false,
    showCPUFallbackMessage: false,
    maxNumberOfWebWorkers: 3,
    maxNumRequests: { interaction: 100, thumbnail: 5, prefetch: 5 },
    defaultDataSourceName: 'dicomweb',
    dataSources: [
      {
        namespace: '@ohif/extension-default.dataSourcesModule.dicomweb',
        sourceName: 'dicomweb',
        configuration: {
          friendlyName: 'Chest Data Warehouse',
          name: 'chest',
          qidoRoot: root,
          wadoRoot: root,
          wadoUriRoot: root,
          qidoSupportsIncludeField: true,
          supportsReject: false,
          supportsStow: false,
          imageRendering: 'wadors',
          thumbnailRendering: 'thumbnail',
          enableStudyLazyLoad: true,
          supportsFuzzyMatching: false,
          supportsWildcard: true,
          omitQuotationForMultipartRequest: true,
          bulkDataURI: { enabled: true },
        },
      },
    ],
  };
})();
